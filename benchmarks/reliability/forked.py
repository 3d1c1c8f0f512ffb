"""Commands as processes of their own, forked from this one: it has imported the package, which takes longer than they.

A process that is forked has all of its own but its imports, and is killed as any other. This process computes nothing
before, so that it has no threads that a fork would lose.
"""

import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from pathlib import Path

from benchmarks.recording.surface import Surface

import faal
from faal.cli.app import main

OFTEN = 0.005
"""Seconds between two checks of a process."""


def import_all() -> None:
    """Import every module of the package, and what they import where they are used."""
    for module in pkgutil.walk_packages(faal.__path__, "faal."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("sklearn.datasets")
    importlib.import_module("matplotlib.pyplot")


class Forked:
    """A command in a process of its own.

    Args:
        folder: the folder that it runs in.
        environment: its environment variables.
        words: the command.
        errors: the file for its errors, or None.
    """

    def __init__(self, folder: Path, environment: dict[str, str], *words: str, errors: Path | None = None) -> None:
        self.status: int | None = None
        """The exit status once it has ended; that of a signal is negative."""
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _run(folder, environment, words, errors or Path(os.devnull))

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        if self.status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if found else None
        return self.status

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        while (status := self.poll()) is None:
            time.sleep(OFTEN)
        return status

    def kill(self) -> None:
        """Send it SIGKILL, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def forked(surface: Surface, folder: Path, *words: str) -> None:
    """`faal WORDS` to its end. Raises RuntimeError with the end of its errors where it fails."""
    errors = folder / "errors.txt"
    status = Forked(folder, surface.environment, *words, errors=errors).wait()
    if status:
        raise RuntimeError(f"faal {' '.join(words)} ended with {status}: {errors.read_text()[-2000:]}")
    errors.unlink()


def _run(folder: Path, environment: dict[str, str], words: tuple[str, ...], errors: Path) -> None:
    """The child: never returns."""
    status = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate((Path(os.devnull), Path(os.devnull), errors)):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["faal", *words]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
