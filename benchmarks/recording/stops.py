"""Commands that are stopped while they compute: a run between two steps, an audit between two blocks."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

OFTEN = ("--log-every", "1", "--checkpoint-every", "0")
"""A checkpoint after every step. A run that was begun with these is continued without them."""

STEPS, EVALUATIONS, BLOCKS = (5, 35), (3, 6), (1, 2)
"""Where a command is stopped for the first and for the second time: rows in the log of a run, within its first and its
second epoch; rows of one that only searches for offsets; stored blocks of an audit."""


def stop_when(process: subprocess.Popen[bytes], reached: Callable[[], bool], how: signal.Signals) -> None:
    """Send a signal to a command once `reached` is true, and wait for its end.

    Raises:
        RuntimeError: it ended before.
    """
    while process.poll() is None and not reached():
        time.sleep(0.005)
    process.send_signal(how)
    if process.wait() in (0, 2):
        raise RuntimeError(f"the command ended with {process.returncode} before it could be stopped")


def stop_twice(begin: Callable[[], subprocess.Popen[bytes]], out: Path, kill: signal.Signals) -> None:
    """Begin a command and interrupt it, begin it again and end it by `kill`, both while it writes into `out`."""
    stop_when(begin(), lambda: so_far(out, 0), signal.SIGINT)
    stop_when(begin(), lambda: so_far(out, 1), kill)


def so_far(out: Path, turn: int) -> bool:
    """Whether a command has come to the place of its first (0) or second (1) stop."""
    if (out / "blocks").is_dir():
        return len(list((out / "blocks").glob("*.npz"))) >= BLOCKS[turn]
    log = out / "metrics.jsonl"
    if not log.exists() or not (out / "last.pt").exists():
        return False
    rows = log.read_text(encoding="utf-8").splitlines()
    places = EVALUATIONS if '"offsets"' in "".join(rows[:1]) else STEPS
    return len(rows) >= places[turn]
