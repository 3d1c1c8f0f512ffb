"""The differences of two audits on a page, as `faal compare` computed them; the page computes none itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from faal.report.files.run import IntervalEstimate
from faal.report.files.text import clean_text


@dataclass(frozen=True)
class ClassChange:
    """The difference in one class; fractions."""

    difference: IntervalEstimate
    """With the interval that is corrected for all classes."""
    established: bool
    """Whether the corrected test rejects that there is none."""


@dataclass(frozen=True)
class AttackChanges:
    """The differences under one attack; fractions."""

    average: IntervalEstimate
    worst: IntervalEstimate
    classes: Mapping[str, ClassChange]
    """By name; classes without images are left out."""

    @property
    def lost(self) -> list[str]:
        """The classes with an established loss."""
        return [name for name, each in self.classes.items() if each.established and each.difference.value < 0]


@dataclass(frozen=True)
class Changes:
    """The differences of the last audit of a page and the first."""

    attacks: Mapping[str, AttackChanges]
    conclusion: str

    @classmethod
    def of(cls, comparison: Mapping[str, Any]) -> Self:
        """From the plain values of a comparison (`audit.comparison.Comparison.to_json`)."""
        level = comparison["level"]
        return cls(
            {name: _attack(found, level) for name, found in comparison["attacks"].items()},
            clean_text(comparison["conclusion"]),
        )


def _attack(found: Mapping[str, Any], level: float) -> AttackChanges:
    return AttackChanges(
        average=_interval(found["average"]),
        worst=_interval(found["worst"]),
        classes={
            clean_text(each["name"]): ClassChange(_interval(each), each["p"] < 1 - level) for each in found["classes"]
        },
    )


def _interval(entry: Mapping[str, float]) -> IntervalEstimate:
    return IntervalEstimate(value=entry["value"], low=entry["low"], high=entry["high"])
