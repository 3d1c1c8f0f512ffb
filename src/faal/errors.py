"""What is said to a user whose input is wrong: one sentence, what, where and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """The user's input is wrong. The message is the whole answer; the command line adds exit status 2."""


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
