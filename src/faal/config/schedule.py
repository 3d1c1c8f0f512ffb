"""Parse numbers written as fractions (`8/255`), and schedules: values that change over a run.

A `Schedule` is a function of the completed fraction of the run, so that every constant scales with the number of
epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from faal.errors import InputError


def number(text: object) -> float:
    """A number, or a fraction such as `8/255`. Raises ValueError, or ZeroDivisionError for `1/0`."""
    if isinstance(text, bool):
        raise ValueError(f"{text} is not a number")
    above, _, below = str(text).partition("/")  # as text, since a whole number may be too large for a float
    value = float(above) / (float(below) if below else 1.0)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def boolean(text: object) -> bool:
    """A boolean from text: true, yes, 1, false, no or 0. Raises ValueError."""
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(text).lower() not in known:
        raise ValueError(f"{text} is neither true nor false")
    return known[str(text).lower()]


@dataclass(frozen=True)
class Schedule:
    """A piecewise constant value: `values[k]` applies from the fraction `starts[k]` of the run on.

    Raises:
        InputError: the starts do not increase from 0 to below 1, or there is not one value for each.
    """

    starts: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.starts or len(self.starts) != len(self.values) or self.starts[0] != 0:
            raise InputError("a schedule begins at 0 and has one value per start")
        if self.starts[-1] >= 1:
            raise InputError("starts are fractions of the run, below 1")
        if list(self.starts) != sorted(set(self.starts)):
            raise InputError("each start is larger than the one before it")

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """The same value throughout."""
        return cls((0.0,), (float(value),))

    @classmethod
    def parse(cls, text: object) -> Schedule:
        """From a number, a mapping `{0: 0.1, 1/2: 0.01}` or its form on the command line, `0:0.1,1/2:0.01`."""
        if isinstance(text, Schedule):
            return text
        if isinstance(text, str) and ":" in text:
            return cls._of(part.split(":", 1) for part in text.split(","))
        if isinstance(text, Mapping):
            return cls._of(text.items())
        return cls.constant(number(text))

    @classmethod
    def _of(cls, entries: Iterable[Iterable[object]]) -> Schedule:
        """From pairs of a start and a value, in any order. A start that is given twice is rejected."""
        pairs = sorted((number(start), number(value)) for start, value in entries)
        return cls(tuple(start for start, _ in pairs), tuple(value for _, value in pairs))

    def at(self, progress: float) -> float:
        """The value when the fraction `progress` of the run, in [0, 1], is completed."""
        past_values = [value for start, value in zip(self.starts, self.values, strict=True) if start <= progress + 1e-9]
        return past_values[-1]

    def plain(self) -> float | dict[str, float]:
        """As YAML writes it."""
        if len(self.values) == 1:
            return self.values[0]
        return {_as_written(start): value for start, value in zip(self.starts, self.values, strict=True)}


def epoch_of(start: float, epochs: int) -> int:
    """The first epoch that begins when the fraction `start` of a run of `epochs` is completed."""
    return math.ceil(start * epochs - 1e-9)


def _as_written(start: float) -> str:
    """A start as text, as a short fraction where it is one: 1/3 rather than 0.3333333333333333."""
    fraction = Fraction(start).limit_denominator(1000)
    return str(fraction) if float(fraction) == start else repr(start)
