"""One writer per folder: a lock that the system releases when its process ends, also after a crash.

It is `flock` on the file `.lock` in the folder, which contains its holder and is removed at the end. Where the file
system has no `flock`, it is a claim (`claims`). Readers do not lock.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from faal.engine import processes
from faal.engine.writers import claims
from faal.engine.writers.holder import Holder
from faal.engine.writers.temporary import sweep
from faal.errors import InputError, refuse_unwritable

try:
    import fcntl
except ImportError:  # not a Unix
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

FILE = ".lock"

NO_FLOCK = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
"""Errors of a file system without `flock`."""

_held: set[tuple[str, int]] = set()
"""Folders locked by threads of this process: real path and thread."""

_open: set[int] = set()
"""Descriptors of held locks."""


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False, option: str = "--out") -> Iterator[None]:
    """The context in which this process alone writes into a folder; temporary files of ended processes are removed at
    its start.

    In a group of processes the main one acquires the lock, and an error is raised in all: each must call it. Within the
    context the same thread may open it again. Child processes do not inherit it. A folder that does not exist is
    created, and removed if nothing is written to it.

    Args:
        folder: where files are to be written.
        shared: share it with other processes that also set this and write different files; only an exclusive writer
            is then rejected. On a file system without `flock` none is.
        option: the option that names the folder, for the messages.

    Raises:
        InputError: another process, or another thread, writes there, or the folder cannot be written.
    """
    key = os.path.realpath(folder), threading.get_ident()
    if key in _held:
        yield
        return
    held = processes.on_main(partial(_acquire, folder, shared, option)) or ExitStack()
    _held.add(key)
    try:
        with held:
            yield
    finally:
        _held.discard(key)


def _acquire(folder: Path, shared: bool, option: str) -> ExitStack:
    """Acquire the lock; returns the stack that releases it."""
    refuse_unwritable(folder, f"choose another folder with {option}")
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    undo = ExitStack()
    for path in reversed(created):
        undo.callback(_remove_empty, path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _lock(folder, shared, option, undo)
        sweep(folder)
    except OSError as error:
        undo.close()
        raise InputError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with {option}"
        ) from None
    except BaseException:
        undo.close()
        raise
    return undo


def _lock(folder: Path, shared: bool, option: str, undo: ExitStack) -> None:
    path = folder / FILE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if not _flock(descriptor, shared):
                os.close(descriptor)
                path.unlink(missing_ok=True)
                if not shared:
                    undo.enter_context(_claim(folder, option))
                return
            current = os.path.samestat(os.fstat(descriptor), os.stat(path))
        except BlockingIOError:
            holders = os.pread(descriptor, 1 << 16, 0).decode(errors="replace")
            os.close(descriptor)
            raise _busy(folder, holders, option) from None
        except FileNotFoundError:  # removed by its last holder
            current = False
        if current:
            break
        os.close(descriptor)
    _open.add(descriptor)
    undo.callback(_release, descriptor, path)
    if not shared:
        os.ftruncate(descriptor, 0)
    os.write(descriptor, Holder.own().text().encode())


def _flock(descriptor: int, shared: bool) -> bool:
    """Acquire the lock of an open file; False where the file system has none. BlockingIOError where it is held."""
    if not HAS_FLOCK:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_FLOCK:
            return False
        raise
    return True


def _claim(folder: Path, option: str) -> claims.Lock:
    claim = claims.acquire(folder, FILE)
    if claim is None:
        raise _busy(folder, claims.content(folder, FILE), option)
    return claim


def _busy(folder: Path, holders: str, option: str) -> InputError:
    """The error, from the lines of the lock's file: processes that share it, or shared it before."""
    known = [holder for line in holders.splitlines() if (holder := Holder.parse(line)) and not holder.is_dead]
    by = max(known, key=lambda holder: not holder.is_own, default="another process")
    return InputError(f"{folder} is being written by {by}; wait for it, stop it, or choose another {option}")


def _release(descriptor: int, path: Path) -> None:
    if descriptor not in _open:  # in a forked child
        return
    _open.discard(descriptor)
    with suppress(OSError):  # other processes may share it: the last removes the file
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    os.close(descriptor)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _close_in_child() -> None:
    """A forked child shares the open file: it would hold the lock after the end of its parent."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
