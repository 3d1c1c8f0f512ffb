"""Claims: one holder at a time, also when holders are killed or suspended."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from faal.engine.writers import claims
from faal.engine.writers.claims import Lock, acquire, remove_locks


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def foreign(path: Path, *, age: float) -> None:
    """A lock of another machine, last touched `age` seconds ago."""
    path.write_text(json.dumps({"machine": "elsewhere", "process": 1}))
    os.utime(path, (time.time() - age, time.time() - age))


TAKE_ALL = """
import sys, time
from pathlib import Path
from faal.engine.writers.claims import acquire
folder, count = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while not (folder / "go").exists():
    time.sleep(0.001)
held = []
for number in range(count):
    taken = acquire(folder, f"item-{number}")
    if taken is not None:
        held.append(taken)
        print(number, flush=True)
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("abandoned", [False, True], ids=["free", "abandoned"])
def test_one_of_several_processes_acquires_it(tmp_path: Path, abandoned: bool) -> None:
    count = 60
    if abandoned:
        for number in range(count):
            foreign(tmp_path / f"item-{number}.0", age=1e4)
    processes = [run(TAKE_ALL, tmp_path, count) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        (tmp_path / "go").touch()
        taken = [
            [int(line) for line in iter(process.stdout.readline, "done\n")] for process in processes if process.stdout
        ]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(number for each in taken for number in each) == list(range(count))


def test_a_lock_is_held_and_released(tmp_path: Path) -> None:
    held = acquire(tmp_path, "work")
    assert held is not None
    with held:
        assert acquire(tmp_path, "work") is None
        assert acquire(tmp_path, "other") is not None
    assert acquire(tmp_path, "work") is not None


def test_names_with_a_common_prefix_are_different(tmp_path: Path) -> None:
    assert acquire(tmp_path, "frl-0") is not None
    assert acquire(tmp_path, "frl-0.05") is not None
    assert acquire(tmp_path, "frl-0") is None


def test_the_lock_of_a_dead_process_is_free_at_once(tmp_path: Path) -> None:
    dead = run("import sys; from pathlib import Path; from faal.engine.writers.claims import acquire; "
               "acquire(Path(sys.argv[1]), 'work')", tmp_path)  # fmt: skip
    assert os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert (tmp_path / "work.0").exists()
    taken = acquire(tmp_path, "work")
    assert taken is not None
    assert taken.path.name == "work.1"
    assert acquire(tmp_path, "work") is None
    dead.communicate()


def test_another_machines_lock_is_taken_over_when_it_is_stale(tmp_path: Path) -> None:
    foreign(tmp_path / "work.4", age=claims.STALE_AFTER / 2)
    assert acquire(tmp_path, "work") is None
    foreign(tmp_path / "work.4", age=claims.STALE_AFTER * 2)
    taken = acquire(tmp_path, "work")
    assert taken is not None
    assert taken.path.name == "work.5"


def test_a_lock_without_content_yet_is_held(tmp_path: Path) -> None:
    (tmp_path / "work.0").touch()
    assert acquire(tmp_path, "work") is None


def test_a_holder_that_resumes_during_a_takeover_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock was found abandoned, and is touched before the next lock is created."""
    path = tmp_path / "work.0"
    foreign(path, age=1e4)
    create = claims._create

    def late(new: Path) -> Lock | None:
        os.utime(path)
        return create(new)

    monkeypatch.setattr(claims, "_create", late)
    assert acquire(tmp_path, "work") is None
    assert sorted(each.name for each in tmp_path.glob("work.*")) == ["work.0"]


def test_it_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT", 0.02)
    held = acquire(tmp_path, "work")
    assert held is not None
    os.utime(held.path, (0, 0))
    with held:
        deadline = time.monotonic() + 20
        while held.path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.path.stat().st_mtime > 1
    assert held._heartbeats not in threading.enumerate()


LOSE = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would this
from pathlib import Path
from faal.engine.writers import claims
claims.HEARTBEAT = 0.05
held = claims.acquire(Path(sys.argv[1]), "work")
try:
    with held:
        Path(sys.argv[1], "work.1").touch()
        time.sleep(60)
        print("continued")
except KeyboardInterrupt:
    print("stopped", held.lost, sorted(path.name for path in Path(sys.argv[1]).glob("work.*")))
"""


def test_a_holder_that_lost_it_stops_and_removes_no_file(tmp_path: Path) -> None:
    out, error = run(LOSE, tmp_path).communicate(timeout=60)
    assert out == "stopped True ['work.0', 'work.1']\n", error


def test_remove_locks(tmp_path: Path) -> None:
    for name in ("work.0", "work.3", "work.failed", "work-2.0"):
        (tmp_path / name).touch()
    remove_locks(tmp_path, "work")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work-2.0", "work.failed"]
