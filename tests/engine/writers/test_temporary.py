"""Temporary files: names of one's own, and what is removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faal import checkpoint
from faal.engine.writers.claims import STALE_AFTER
from faal.engine.writers.holder import machine
from faal.engine.writers.temporary import sweep, temporary


def part(folder: Path, *, of: str, process: int, age: float = 0) -> Path:
    """A temporary file of a process of the machine `of`, written `age` seconds ago."""
    path = folder / f".last.pt.{of}-{process}.part"
    path.write_text("half of a checkpoint")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_what_ended_processes_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "blocks").mkdir()
    ended = ended_process()
    left = [part(folder, of=machine(), process=ended) for folder in (tmp_path, tmp_path / "blocks")]
    left.append(part(tmp_path, of="0123abcd", process=os.getpid(), age=2 * STALE_AFTER))
    others = [part(tmp_path, of=machine(), process=os.getpid(), age=2 * STALE_AFTER)]
    others.append(part(tmp_path, of="0123abcd", process=ended, age=0))
    for name in (".bashrc", ".notes.part", "last.pt", ".last.pt.12"):
        others.append(tmp_path / name)
        others[-1].write_text("a file of the user's")
    sweep(tmp_path)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


WRITE = """
import os, signal, sys
from pathlib import Path
from faal import checkpoint
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
checkpoint.write_atomically(Path(sys.argv[1]), b"new")
"""


@pytest.mark.medium
def test_a_killed_writer_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    checkpoint.write_atomically(path, b"old")
    subprocess.run([sys.executable, "-c", WRITE, str(path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["audit.json"]
    assert path.read_bytes() == b"old"


def test_the_name_is_this_processs(tmp_path: Path) -> None:
    path = temporary(tmp_path / "last.pt")
    assert path.parent == tmp_path
    assert str(os.getpid()) in path.name
    path.touch()
    sweep(tmp_path)
    assert path.exists()
