"""Which processes live, from Linux's `/proc`."""

from collections.abc import Sequence
from pathlib import Path


def descendants(process: int) -> list[int]:
    """The numbers of a process's children, of theirs, and so on."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _status(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [process]
    while waiting:
        own = parents.get(waiting.pop(), [])
        found += own
        waiting += own
    return found


def alive(process: int) -> bool:
    """Whether a process has not ended."""
    fields = _status(process)
    return bool(fields) and fields[0] != "Z"


def _status(process: int) -> Sequence[str]:
    """State, parent and so on of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return ()
