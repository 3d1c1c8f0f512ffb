"""Commands that a record stops: where, by which signals, and one that ends before."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.benches import script

WORK = """
import json, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
out, event, count = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
made = out / "blocks" if event == "block" else out
made.mkdir(parents=True, exist_ok=True)
(out / "last.pt").touch()
for number in range(count):
    if event == "block":
        (made / f"pgd10-{number:05d}.npz").touch()
    else:
        with open(out / "metrics.jsonl", "a") as log:
            log.write(json.dumps({"event": event}) + "\\n")
if not count % 2:
    time.sleep(60)
"""
"""Writes so many rows or blocks; where their number is even it waits for a signal, else it ends."""


def work(out: Path, event: str, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WORK, str(out), event, str(count)], stderr=subprocess.DEVNULL)


@pytest.mark.medium
@pytest.mark.parametrize(("event", "first", "second"), [("batch", 6, 30), ("offsets", 4, 2), ("block", 2, 2)])
def test_stopped_twice(tmp_path: Path, event: str, first: int, second: int) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> "subprocess.Popen[bytes]":
        begun.append(work(tmp_path, event, second if begun else first))
        return begun[-1]

    script("stops").stop_twice(begin, tmp_path, signal.SIGKILL)
    interrupted, killed = begun
    assert (interrupted.returncode, killed.returncode) == (-signal.SIGINT, -signal.SIGKILL)


@pytest.mark.parametrize("event", ["batch", "offsets", "block"])
def test_too_late_is_an_error(tmp_path: Path, event: str) -> None:
    with pytest.raises(RuntimeError, match="before it could be stopped"):
        script("stops").stop_when(work(tmp_path, event, 1), lambda: False, signal.SIGINT)


def test_a_run_without_a_checkpoint_is_not_stopped(tmp_path: Path) -> None:
    """It would begin again, which shows nothing."""
    (tmp_path / "metrics.jsonl").write_text('{"event": "batch"}\n' * 40)
    assert not script("stops").so_far(tmp_path, 0)
    (tmp_path / "last.pt").touch()
    assert script("stops").so_far(tmp_path, 1)
