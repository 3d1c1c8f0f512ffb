"""Errors of the user's input: each is one sentence that states what is wrong, where, and what to do."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import TypeVar

Choice = TypeVar("Choice", bound=str)

MAX_LENGTH = 60
"""Characters of a value that a message repeats."""


MISFIT = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What a reader raises where a plain value is of another kind than it expects, such as a number for a list."""


class InputError(ValueError):
    """The user's input is wrong. Its message is all that the command line prints; the exit status is then 2.

    Attributes:
        shared: whether all processes of a group have it, so that one of them prints it.
    """

    shared = False


@contextmanager
def permitted() -> Iterator[None]:
    """The context, or as a decorator the function, in which a user's files are read.

    Raises:
        InputError: one of them cannot be read: permission is denied, its name is too long, its links form a cycle.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:  # not about a file
            raise
        if isinstance(error, PermissionError):
            raise forbidden(error.filename) from None
        raise InputError(f"{error.filename} cannot be read ({error.strerror}); check its name and location") from None


def forbidden(path: object) -> InputError:
    """The error for a file or folder that the user may not read."""
    return InputError(
        f"no permission to read {path}: its own permissions, or those of a folder above it, forbid it; have them "
        "changed (chmod -R u+rX)"
    )


def unknown(kind: str, name: str, known: Iterable[str], *, see: str | None = None) -> InputError:
    """The error for a name that is not in a table, with the nearest name, and with the full list or, for `see`, a
    reference to it."""
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return InputError(f"there is no {kind} {name!r}{hint} {f'{see} lists them all' if see else ', '.join(names)}")


def one_of(kind: str, name: object, known: Iterable[Choice], *, see: str | None = None) -> Choice:
    """`name`, in the type of the known names that it is one of.

    Raises:
        InputError: it is none of them (`unknown`), or not a string.
    """
    names = list(known)
    if not isinstance(name, str):
        raise InputError(f"the {kind} is a name, such as {names[0]!r}, not {described(name)}")
    for choice in names:
        if choice == name:
            return choice
    raise unknown(kind, name, names, see=see)


def described(value: object) -> str:
    """A value in a message: a number or a text itself, shortened; of anything else its type."""
    if value is not None and not isinstance(value, Real | str | bytes | complex):
        return f"a {type(value).__name__}"
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number of too many digits"
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


def first_line(error: BaseException) -> str:
    """The first line of another library's error, to be part of a sentence; its type where it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def refuse_unwritable(folder: Path, advice: str = "choose another folder with --out") -> None:
    """Check that a folder can be written, or created, before the work whose results are written there.

    Nothing is created. A full disk, or a denial by the system at writing, is an error only then.

    Args:
        folder: where files are to be written.
        advice: what to do.

    Raises:
        InputError: it cannot be written.
    """
    nearest = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    if not nearest.is_dir():
        raise InputError(f"{folder} cannot be written ({nearest} is not a folder); {advice}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written (Permission denied); {advice}")
