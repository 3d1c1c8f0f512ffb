"""The holder of a lock: a process, its machine and its command."""

import hashlib
import json
import os
import platform
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock, as recorded in the lock's file."""

    machine: str
    """Identity of the set of process numbers."""
    process: int
    host: str
    command: str
    since: float
    """Seconds since the epoch."""

    @classmethod
    def own(cls) -> Self:
        """This process."""
        program = Path(sys.argv[0])
        name = program.parent.name if program.name == "__main__.py" else program.name
        command = " ".join([name, *sys.argv[1:]])
        return cls(machine=machine(), process=os.getpid(), host=platform.node(), command=command, since=time.time())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The holder in a lock's file; None where it is missing or has another form."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def is_own(self) -> bool:
        """Whether it is this process."""
        return self.machine == machine() and self.process == os.getpid()

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended: it ran on this machine."""
        return self.machine == machine() and not is_alive(self.process)

    def __str__(self) -> str:
        form = "%H:%M" if time.localtime(self.since)[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M"
        since = time.strftime(form, time.localtime(self.since))
        return f"`{self.command}` (process {self.process} on {self.host}, since {since})"

    def text(self) -> str:
        """The holder as a line of a lock's file."""
        return json.dumps(asdict(self)) + "\n"


@cache
def machine() -> str:
    """Identity of a set of process numbers, the boot of a machine and the container within it: 8 hexadecimal digits."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def is_alive(process: int) -> bool:
    """Whether a process of this machine is running; a zombie is not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        pass
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2]
    except OSError:
        return True
    return not state.startswith("Z")
