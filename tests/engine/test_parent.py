"""Workers end with their parent, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faal.engine import parent

SCRIPT = """
import multiprocessing, sys, time
from faal.engine import parent
def work(polls):
    if polls:
        sys.platform = "another"
    parent.end_with_parent()
    print("ready", flush=True)
    time.sleep(600)
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1] == "polls",))
    worker.start()
    print(worker.pid, flush=True)
    worker.join()
"""


def is_alive(process: int) -> bool:
    try:
        return not Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("way", ["kernel", "polls"])
def test_a_worker_whose_parent_alone_is_killed(way: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), way], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = {process.stdout.readline().strip() for _ in range(2)}
        worker = int((said - {"ready"}).pop())
        assert is_alive(worker)
        process.kill()
        deadline = time.monotonic() + 30
        while is_alive(worker) and time.monotonic() < deadline:
            time.sleep(0.01)
        ended = not is_alive(worker)
        if not ended:
            os.kill(worker, signal.SIGKILL)
    assert ended


def test_a_process_that_nobody_here_started_is_left_alone() -> None:
    """A user's program, which may go on after the shell that started it."""
    parent.end_with_parent()
