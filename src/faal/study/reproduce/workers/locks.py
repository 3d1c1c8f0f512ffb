"""Who does what, among any number of processes and machines that have only a folder in common.

A piece of work is claimed by creating a file that must not exist yet (`O_CREAT | O_EXCL`, atomic on shared folders
too), and held by touching that file every few seconds. A claim that nobody has touched for a while, or whose process
is gone from this very machine, may be taken over. Claims carry a number: to take over claim 3 is to create claim 4.
Of several that try, one can. Nothing is renamed or removed that another process may just be looking at, so that no
process can take away a claim younger than the one it judged.
"""

import json
import multiprocessing
import os
import platform
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

BEAT = 5.0
"""Seconds between two touches."""

STALE = 180.0
"""Seconds without a touch after which a claim may be taken over: many beats, for a folder that answers slowly."""


class Claim:
    """A claim that is held; a context that lets it go.

    Losing it (another process took it over, since this one was suspended for too long), or losing the process that
    started this one, interrupts the main thread: what it does may be restarted elsewhere, and must not be done twice
    at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = False
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._beats.join()
        if not self.lost:
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            parent = multiprocessing.parent_process()
            self.lost = _overtaken(self.path) or not _touched(self.path)
            if self.lost or (parent is not None and not parent.is_alive()):
                if not self._over.is_set():
                    _interrupt()
                return


def _interrupt() -> None:
    """KeyboardInterrupt in the main thread, also where it waits."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def claim(folder: Path, name: str) -> Claim | None:
    """Claim the work `name`; None where another process holds it.

    Args:
        folder: where the claims are, the same for all.
        name: the work, fit for a file's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = _highest(folder, name)
    if number is None:
        return _create(folder / f"{name}.0")
    present = folder / f"{name}.{number}"
    before = _seen(present)
    if before is None or not _abandoned(present, before):
        return None
    taken = _create(folder / f"{name}.{number + 1}")
    # Its holder may have come back, let it go, and another may have claimed it anew, all since the look above.
    if taken is not None and _seen(present) != before:
        taken.path.unlink(missing_ok=True)
        return None
    return taken


def forget(folder: Path, name: str) -> None:
    """Remove what abandoned claims left of work that is done: nobody needs to claim it again."""
    for path in _claims(folder, name):
        path.unlink(missing_ok=True)


def _claims(folder: Path, name: str) -> list[Path]:
    return [path for path in folder.glob(f"{name}.*") if path.stem == name and path.suffix[1:].isdigit()]


def _highest(folder: Path, name: str) -> int | None:
    return max((int(path.suffix[1:]) for path in _claims(folder, name)), default=None)


def _create(path: Path) -> Claim | None:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with open(handle, "w", encoding="utf-8") as file:
        json.dump({"machine": _machine(), "process": os.getpid()}, file)
    return Claim(path)


def _overtaken(path: Path) -> bool:
    highest = _highest(path.parent, path.stem)
    return highest is not None and highest > int(path.suffix[1:])


def _touched(path: Path) -> bool:
    """Touch a claim; False where it is gone. A folder that cannot be reached for a moment is no reason to stop."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _seen(path: Path) -> tuple[str, float] | None:
    """A claim's words and the time of its last touch; None where it is gone."""
    try:
        return path.read_text(encoding="utf-8"), path.stat().st_mtime
    except OSError:
        return None


def _abandoned(path: Path, seen: tuple[str, float]) -> bool:
    """Whether nobody works on it any more."""
    words, touched = seen
    holder = {}
    with suppress(ValueError):  # its holder has created it and not yet written who it is
        holder = json.loads(words)
    if holder.get("machine") == _machine() and not _runs(holder["process"]):
        return True
    return _now(path.parent) - touched > STALE


def _now(folder: Path) -> float:
    """The time by the clock that the folder's files are dated with: another machine's may differ from ours."""
    probe = folder / f".clock-{platform.node()}-{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _machine() -> str:
    """One set of process numbers: a boot of a machine, and within it the container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _runs(process: int) -> bool:
    """Whether a process of this machine lives; one that is over and waits for its parent to notice does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2]
    except OSError:
        return True
    return not state.startswith("Z")
