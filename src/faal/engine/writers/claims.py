"""Claims: locks among any number of processes and machines that share only a folder.

A work item is locked by creating a file that must not exist yet (`O_CREAT | O_EXCL`, atomic on shared folders too); its
holder updates the file's time every few seconds. A lock that has not been updated for a while, or whose process on this
machine has ended, is abandoned and may be taken over. Locks are numbered: to take over lock 3 is to create lock 4,
which only one of several processes can. No file is renamed or removed while another process may be reading it, so that
no process can remove a newer lock than the abandoned one.
"""

import os
import platform
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from faal.engine import interrupts
from faal.engine.writers.holder import Holder

HEARTBEAT = 5.0
"""Seconds between two updates of a held lock."""

STALE_AFTER = 180.0
"""Seconds without an update after which a lock is abandoned: many heartbeats, since a shared folder may be slow."""


class Lock:
    """A lock that is held; as a context it is released at the end.

    If it is lost (another process took it over, since this one was suspended for too long), the main thread is
    interrupted: its work may have been restarted by another process, and must not run twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = False
        self._released = threading.Event()
        self._heartbeats = threading.Thread(target=self._beat_until_released, daemon=True)

    def __enter__(self) -> Self:
        self._heartbeats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._heartbeats.join()
        if not self.lost:
            self.path.unlink(missing_ok=True)

    def _beat_until_released(self) -> None:
        while not self._released.wait(HEARTBEAT):
            self.lost = _superseded(self.path) or not _touch(self.path)
            if self.lost:
                if not self._released.is_set():
                    interrupts.end_at_once(f"{self.path.parent} was taken over by another process")
                return


def acquire(folder: Path, name: str) -> Lock | None:
    """Acquire the lock of the work item `name`; None where another process holds it.

    Args:
        folder: the folder of the locks, the same for all processes.
        name: the work item, valid in a file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = _highest(folder, name)
    if number is None:
        return _create(folder / f"{name}.0")
    present = folder / f"{name}.{number}"
    before = _read_lock(present)
    if before is None or not _abandoned(present, before):
        return None
    lock = _create(folder / f"{name}.{number + 1}")
    # Since it was read above, its holder may have resumed and released it, and another may have acquired it.
    if lock is not None and _read_lock(present) != before:
        lock.path.unlink(missing_ok=True)
        return None
    return lock


def content(folder: Path, name: str) -> str:
    """The content of the lock of the work item `name`, its holder; empty where there is none."""
    number = _highest(folder, name)
    found = None if number is None else _read_lock(folder / f"{name}.{number}")
    return found[0] if found else ""


def remove_locks(folder: Path, name: str) -> None:
    """Remove the abandoned locks of a finished work item, which are not needed any more."""
    for path in _lock_files(folder, name):
        path.unlink(missing_ok=True)


def _lock_files(folder: Path, name: str) -> list[Path]:
    return [path for path in folder.glob(f"{name}.*") if path.stem == name and path.suffix[1:].isdigit()]


def _highest(folder: Path, name: str) -> int | None:
    return max((int(path.suffix[1:]) for path in _lock_files(folder, name)), default=None)


def _create(path: Path) -> Lock | None:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with open(handle, "w", encoding="utf-8") as file:
        file.write(Holder.own().text())
    return Lock(path)


def _superseded(path: Path) -> bool:
    highest = _highest(path.parent, path.stem)
    return highest is not None and highest > int(path.suffix[1:])


def _touch(path: Path) -> bool:
    """Update a lock's time; False where its file is missing. Other errors, such as a network failure, are ignored."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _read_lock(path: Path) -> tuple[str, float] | None:
    """A lock's content and the time of its last update; None where its file is missing."""
    try:
        return path.read_text(encoding="utf-8"), path.stat().st_mtime
    except OSError:
        return None


def _abandoned(path: Path, state: tuple[str, float]) -> bool:
    """Whether a lock in this state (content, time of the last update) is no longer held."""
    text, updated = state
    holder = Holder.parse(text)
    return (holder is not None and holder.is_dead) or _now(path.parent) - updated > STALE_AFTER


def _now(folder: Path) -> float:
    """The time by the clock of the folder's file system, which may differ from this machine's."""
    probe = folder / f".clock-{platform.node()}-{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
