"""Temporary files for atomic writes: their names, and the removal of those of ended processes."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from faal.engine.writers.claims import STALE_AFTER
from faal.engine.writers.holder import is_alive, machine

NAME = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)\.part")


def temporary(path: Path) -> Path:
    """This process's temporary file for `path`, in the same folder; the name is different for every process."""
    return path.with_name(f".{path.name}.{machine()}-{os.getpid()}.part")


def sweep(folder: Path) -> None:
    """Remove the temporary files of ended processes in a folder and its subfolders.

    A process of another machine, or from before a restart, is considered ended if it has not written for a while.
    """
    for pattern in (".*.part", "*/.*.part"):
        for path in folder.glob(pattern):
            if found := NAME.fullmatch(path.name):
                with suppress(OSError):  # another process has removed it
                    same_machine = found[1] == machine()
                    if (
                        not is_alive(int(found[2]))
                        if same_machine
                        else time.time() - path.stat().st_mtime > STALE_AFTER
                    ):
                        path.unlink()
