"""Commands and calls within this process, as fast cases need them: what they print and how they end."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faal.cli.app import main
from faal.errors import InputError

PATIENCE = 120
"""Seconds after which a case counts as hanging."""


class HangingError(Exception):
    """A case took longer than `PATIENCE`."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    status: int
    """The exit status; of a call 0, or 2 for an `InputError`, -1 for any other exception."""
    message: str
    """The last line of the errors."""
    output: str = ""

    @property
    def in_words(self) -> bool:
        """Whether it succeeded or was rejected with a sentence."""
        return (self.status == 0 or (self.status == 2 and bool(self.message))) and "Traceback" not in self.message


def command(folder: Path, *words: str) -> Outcome:
    """`faal WORDS` in a folder, in this process."""
    errors, output = io.StringIO(), io.StringIO()
    before = sys.argv, Path.cwd()
    sys.argv = ["faal", *words]
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), _bounded():
            main()
    except SystemExit as end:
        return Outcome(end.code if isinstance(end.code, int) else 1, _last(errors.getvalue()), output.getvalue())
    except Exception as error:
        return Outcome(-1, f"{type(error).__name__}: {error}")
    finally:
        sys.argv = before[0]
        os.chdir(before[1])
    return Outcome(0, _last(errors.getvalue()), output.getvalue())


def call(function: Callable[[], Any]) -> Outcome:
    """A call of the package in this process."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), _bounded():
            function()
    except InputError as error:
        return Outcome(2, str(error))
    except Exception as error:
        return Outcome(-1, f"{type(error).__name__}: {error}")
    return Outcome(0, "")


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def give_up(*_: Any) -> None:
        raise HangingError(f"not finished after {PATIENCE} seconds")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def _last(text: str) -> str:
    lines = [line.strip(" │") for line in text.splitlines() if line.strip(" │╭╮╰╯─")]
    return "Traceback: " + lines[-1] if "Traceback" in text else lines[-1] if lines else ""
