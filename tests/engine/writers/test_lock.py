"""One writer per folder."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faal.engine.writers.lock import FILE, folder_lock
from faal.errors import InputError

HOLD = """
import os, sys, time
from pathlib import Path
from faal.engine.writers import lock
if "claims" in sys.argv:
    lock.HAS_FLOCK = False
with lock.folder_lock(Path(sys.argv[1]), shared="shared" in sys.argv):
    if "fork" in sys.argv:
        if (child := os.fork()) == 0:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
    if "spawn" in sys.argv:
        import subprocess
        sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        print(subprocess.Popen(sleep, close_fds=False).pid, flush=True)
    print("held", flush=True)
    sys.stdin.readline()
os._exit(0)  # without the seconds of an orderly end
"""


class Holder:
    """A process that holds the lock of a folder until `release`, or until it is killed."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-c", HOLD, str(folder), *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.children: list[int] = []

    def wait(self) -> "Holder":
        """Until it holds the lock."""
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline().strip()) != "held":
            self.children.append(int(line))
        return self

    def release(self) -> None:
        self.process.communicate("\n", timeout=60)


@pytest.fixture
def holds(request: pytest.FixtureRequest) -> Callable[..., Holder]:
    """Start a holder, which ends with the test."""

    def start(folder: Path, *words: str) -> Holder:
        holder = Holder(folder, *words)
        request.addfinalizer(holder.process.kill)
        return holder

    return start


def refused(folder: Path, **how: bool) -> str:
    with pytest.raises(InputError) as error, folder_lock(folder, **how):
        pass
    return str(error.value)


def from_another_thread(work: Callable[[], str]) -> str:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


@pytest.mark.medium
def test_another_process_is_refused_and_named(tmp_path: Path, holds: Callable[..., Holder]) -> None:
    holder = holds(tmp_path).wait()
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path} is being written by `-c ")
    assert f"(process {holder.process.pid} on {os.uname().nodename}, since " in message
    assert message.endswith("; wait for it, stop it, or choose another --out")
    holder.release()
    with folder_lock(tmp_path):
        pass


@pytest.mark.medium
@pytest.mark.parametrize("words", [(), ("fork",), ("spawn",), ("claims",)])
def test_a_killed_holder_has_it_no_more(words: tuple[str, ...], tmp_path: Path, holds: Callable[..., Holder]) -> None:
    """Its children, forked or started, do not have it either."""
    holder = holds(tmp_path, *words).wait()
    holder.process.kill()
    holder.process.wait()
    try:
        with folder_lock(tmp_path):
            pass
        for child in holder.children:
            os.kill(child, 0)  # it is there
    finally:
        for child in holder.children:
            os.kill(child, 9)


def test_a_forked_child_is_another_process(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        child = os.fork()
        if child == 0:
            try:
                refused(tmp_path)
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (tmp_path / FILE).exists()


def test_within_one_thread_it_may_be_taken_again(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with folder_lock(tmp_path), folder_lock(tmp_path / "link"), folder_lock(tmp_path, shared=True):
        message = from_another_thread(lambda: refused(tmp_path))
    assert f"process {os.getpid()} " in message
    assert list(tmp_path.iterdir()) == [tmp_path / "link"]


@pytest.mark.medium
def test_those_who_share_it_refuse_only_others(tmp_path: Path, holds: Callable[..., Holder]) -> None:
    first, second = [holds(tmp_path, "shared") for _ in range(2)]
    first.wait()
    second.wait()
    with folder_lock(tmp_path, shared=True):
        pass
    message = refused(tmp_path)
    assert any(f"process {each.process.pid} " in message for each in (first, second))
    second.release()
    assert f"process {first.process.pid} " in refused(tmp_path)
    first.release()
    assert list(tmp_path.iterdir()) == []
    with folder_lock(tmp_path):
        assert "is being written by" in from_another_thread(lambda: refused(tmp_path, shared=True))


@pytest.mark.medium
def test_a_file_system_without_it_has_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: Callable[..., Holder]
) -> None:
    holder = holds(tmp_path, "claims").wait()
    for number in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):

        def missing(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", missing)
        assert f"(process {holder.process.pid} on " in refused(tmp_path)
    holder.release()
    with folder_lock(tmp_path), folder_lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [f"{FILE}.0"]
    assert list(tmp_path.iterdir()) == []


def test_a_removed_file_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the holder before may end and remove the file."""
    real, times = fcntl.flock, iter(range(9))

    def removed(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        if next(times) == 0:
            (tmp_path / FILE).unlink()

    monkeypatch.setattr(fcntl, "flock", removed)
    with folder_lock(tmp_path):
        assert (tmp_path / FILE).stat().st_size > 0
        monkeypatch.setattr(fcntl, "flock", real)
        assert from_another_thread(lambda: refused(tmp_path))


def test_a_folder_is_made_and_not_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "new"
    with folder_lock(folder):
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
    with folder_lock(folder):
        (folder / "best.pt").touch()
    assert [path.name for path in folder.iterdir()] == ["best.pt"]
    with pytest.raises(ValueError, match="within"), folder_lock(tmp_path / "other"):
        raise ValueError("within")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(tmp_path / "file")
    assert "cannot be written" in refused(tmp_path / "file" / "run")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert refused(tmp_path / "run") == (
        f"{tmp_path / 'run'} cannot be written (No space left on device); choose another folder with --out"
    )
    monkeypatch.undo()
    assert not (tmp_path / "run").exists()
    with folder_lock(tmp_path / "run"):
        pass
