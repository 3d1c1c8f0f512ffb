"""Checks of arguments: numbers, strings, paths and mappings; those of tensors are in `tensors`."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, SupportsIndex

from faal.errors import InputError, described

MAX_INTEGER = 2**63 - 1
"""Whole numbers have 64 bits in tensors and in files."""


def whole_number(name: str, value: object, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number as an int, from an int, a NumPy integer or a PyTorch integer without dimensions.

    Args:
        name: of the argument, for the message.
        value: what the caller passed.
        least, most: its range, both ends included; None for no bound.

    Raises:
        InputError: not a whole number, or out of range.
    """
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        try:
            number = value.__index__()
        except (TypeError, ValueError, RuntimeError):  # an array or a tensor of other numbers
            number = None
    if number is not None and abs(number) > (MAX_INTEGER if most is None else most):
        raise InputError(f"{name} is a whole number, at most {most or MAX_INTEGER:,}, not {described(number)}")
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f", at least {least}"
        raise InputError(f"{name} is a whole number{bound}, not {described(value)}")
    return number


def real(name: str, value: object, what: str = "a number") -> float:
    """A number as a float; it may be infinite or NaN.

    Args:
        name: of the argument, for the message.
        value: what the caller passed.
        what: the rest of the sentence.

    Raises:
        InputError: not a number, or too large for a float.
    """
    try:
        # An array or a tensor without dimensions is a number too.
        if not isinstance(value, bool) and (isinstance(value, Real) or getattr(value, "shape", None) == ()):
            return float(value)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError, RuntimeError):
        pass
    raise InputError(f"{name} is {what}, not {described(value)}")


def truth_value(name: str, value: object) -> bool:
    """True or False. Raises InputError for anything else."""
    if not isinstance(value, bool):
        raise InputError(f"{name} is True or False, not {described(value)}")
    return value


def texts(name: str, value: object, example: str) -> tuple[str, ...]:
    """Strings as a tuple; a single string is rejected.

    Raises:
        InputError: not a list of strings, or a string that cannot be encoded as UTF-8.
    """
    if isinstance(value, str | bytes | Mapping | set) or not isinstance(value, Iterable):
        raise InputError(f"{name} is a list, such as [{example!r}], not {described(value)}")
    try:
        found = tuple(value)
    except (TypeError, RuntimeError):  # an array or a tensor without dimensions; a nested tensor
        found = (None,)
    for each in found:
        if not isinstance(each, str):
            raise InputError(f"{name} is a list of texts, and one of them is {described(each)}")
        written(each, f"one of {name}")
    return found


def written(text: str, what: str) -> str:
    """A string that can be encoded as UTF-8; a file name that is not UTF-8 has lone surrogates.

    Raises:
        InputError: it cannot, and writing the results would fail.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what}, {text!r}, is not UTF-8; rename it, since it is written into results") from None
    return text


def as_path(name: str, value: object) -> Path:
    """A path as text or `Path`. Raises InputError for anything else."""
    try:
        text = os.fspath(value)  # type: ignore[call-overload]
        os.fsencode(text)
    except (TypeError, UnicodeEncodeError):
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{name} is a path, as text or pathlib.Path, not {described(value)}")
    return Path(text)


def record(name: str, value: object) -> dict[str, Any]:
    """A mapping as JSON represents it; other values, such as a path, are converted to text. None is an empty one.

    Raises:
        InputError: not a mapping, or one that JSON cannot represent: NaN, a cycle, text that is not UTF-8.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is a mapping, such as {{'name': 'mine'}}, not {described(value)}")
    try:
        text = json.dumps(dict(value), default=str, allow_nan=False, ensure_ascii=False)
        text.encode()
        plain: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be written as JSON ({error}); leave out what is not plain") from None
    return plain


def finite(name: str, value: object, what: str = "a finite number") -> float:
    """A number that is neither infinite nor NaN, as a float. Raises InputError."""
    number = real(name, value, what)
    if not math.isfinite(number):
        raise InputError(f"{name} is {what}, not {number}")
    return number
