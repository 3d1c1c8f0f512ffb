"""What is said to a user whose input is wrong: one sentence, what, where and what to do."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


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
