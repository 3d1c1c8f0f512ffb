"""What is said to a user whose input is wrong: one sentence, what, where and what to do."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class InputError(ValueError):
    """The user's input is wrong. The message is the whole answer; the command line adds exit status 2."""


@contextmanager
def permitted() -> Iterator[None]:
    """The context, or as a decorator the function, in which a user's files are read.

    Raises:
        InputError: the user may not read one of them.
    """
    try:
        yield
    except PermissionError as error:
        if error.filename is None:  # of no file
            raise
        raise forbidden(error.filename) from None


def forbidden(path: object) -> InputError:
    """The error for a file or folder that the user may not read."""
    return InputError(
        f"no permission to read {path}: its own, or those of a folder above it, forbid it; have them changed "
        "(chmod -R u+rX)"
    )


def unknown(kind: str, name: str, known: Iterable[str], *, see: str | None = None) -> InputError:
    """The error for a name that is not in a table: names the nearest one, and where the whole list stands or, without
    `see`, the list."""
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return InputError(f"there is no {kind} {name!r}{hint} {f'{see} lists them all' if see else ', '.join(names)}")


def first_line(error: BaseException) -> str:
    """As much of another library's error as fits into a sentence; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def refuse_unwritable(folder: Path, advice: str = "choose another folder with --out") -> None:
    """That a folder is there and can be written, or could be made, said before the work whose results it is to hold.

    Nothing is made. A disk that fills up, or a system that denies at writing, shows only then.

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
