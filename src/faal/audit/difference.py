"""How far two sides differ under one attack: figures, intervals and p-values from their verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faal.audit.intervals import Array, Interval
from faal.audit.paired import (
    holm,
    mcnemar,
    paired_bootstrap,
    paired_intervals,
    t_intervals,
    t_test,
    worst_difference_interval,
)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """An accuracy of a and of b (means over the runs), and b - a with its interval; fractions."""

    a: float
    b: float
    value: float
    low: float
    high: float

    @property
    def established(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class ClassDifference(Difference):
    """The difference in one class. Interval and `p` are corrected for all classes: any class may be named by them.

    The interval is at level 1 - alpha/C (Bonferroni); `p` is Holm's correction of McNemar's exact test within one run,
    of Student's paired test over several.
    """

    name: str
    p: float


@dataclass(frozen=True, kw_only=True)
class AttackComparison:
    """The differences under one attack.

    `average` is over samples, `balanced` over classes, `worst` of the least class accuracies: the class need not be
    the same on both sides. With one run a side the intervals are the paired bootstrap's, and that of `worst`
    `worst_difference_interval`; with several, Student's over the pairs.
    """

    average: Difference
    balanced: Difference
    worst: Difference
    classes: tuple[ClassDifference, ...]


def difference(
    label: NDArray[np.int64], a: NDArray[np.bool_], b: NDArray[np.bool_], names: Sequence[str], level: float, seed: int
) -> AttackComparison:
    """Compare two sides under one attack.

    Args:
        label: (N,) true classes.
        a: (K, N) whether each run of a has the sample right.
        b: (K, N) the same for b, run by run its partner.
        names: the classes' names; those without samples are left out.
        level: nominal coverage.
        seed: of the bootstrap.
    """
    n = np.bincount(label, minlength=len(names))
    there = np.flatnonzero(n)

    def per_class(which: NDArray[np.bool_]) -> Counts:
        return np.stack([np.bincount(label[row], minlength=len(names)) for row in which])[:, there]

    n, right_a, right_b = n[there], per_class(a), per_class(b)
    if len(a) == 1:
        gained, lost = per_class(b & ~a)[0], per_class(a & ~b)[0]
        intervals = between_models(right_a[0], right_b[0], gained, lost, n, level, seed)
        p = holm(mcnemar(gained, lost))
    else:
        intervals = between_runs(right_a, right_b, n, level)
        p = holm(t_test((right_b - right_a) / n, step=1 / n))
    rates_a, rates_b = right_a / n, right_b / n
    average, balanced, worst = (
        Difference(*_figures(of_a, of_b, interval))
        for of_a, of_b, interval in zip(
            (a.mean(), rates_a.mean(), rates_a.min(axis=1).mean()),
            (b.mean(), rates_b.mean(), rates_b.min(axis=1).mean()),
            intervals[:3],
            strict=True,
        )
    )
    classes = tuple(
        ClassDifference(*_figures(of_a, of_b, Interval(low, high)), names[c], float(corrected_p))
        for c, of_a, of_b, low, high, corrected_p in zip(
            there, rates_a.mean(axis=0), rates_b.mean(axis=0), *intervals.classes, p, strict=True
        )
    )
    return AttackComparison(average=average, balanced=balanced, worst=worst, classes=classes)


class Intervals(NamedTuple):
    """Of the differences in the average over samples, over classes, of the worst classes, and of each class."""

    average: Interval
    balanced: Interval
    worst: Interval
    classes: Interval


def between_models(
    right_a: Counts, right_b: Counts, gained: Counts, lost: Counts, n: Counts, level: float, seed: int
) -> Intervals:
    """Of two models, from (C,) counts as in `paired`. Equal classes are one group: average and balanced agree."""
    average = paired_bootstrap([gained.sum()], [lost.sum()], [n.sum()], level, seed=seed)
    alike = (n == n[0]).all()
    return Intervals(
        average=average,
        balanced=average if alike else paired_bootstrap(gained, lost, n, level, seed=seed),
        worst=worst_difference_interval(right_a, right_b, gained, lost, n, level),
        classes=Interval(*paired_intervals(gained, lost, n, _corrected(level, n))),
    )


def between_runs(right_a: Counts, right_b: Counts, n: Counts, level: float) -> Intervals:
    """Of two methods, from (K, ..., C) counts, K runs a side, and (C,) samples.

    One sample's worth, below which no accuracy can show a change: of the average one in all samples, of a class one of
    its own, of the worst class one of the smallest class that came out worst in any run.
    """
    rates_a, rates_b = right_a / n, right_b / n
    shown = np.concatenate([rates_a.argmin(axis=-1), rates_b.argmin(axis=-1)])

    def over_runs(changes: Array, step: ArrayLike, at: float = level) -> Interval:
        return Interval(*t_intervals(changes, at, step=step))

    return Intervals(
        average=over_runs((right_b - right_a).sum(axis=-1) / n.sum(), 1 / n.sum()),
        balanced=over_runs((rates_b - rates_a).mean(axis=-1), 1 / (n.max() * len(n))),
        worst=over_runs(rates_b.min(axis=-1) - rates_a.min(axis=-1), 1 / n[shown].min(axis=0)),
        classes=over_runs(rates_b - rates_a, 1 / n, _corrected(level, n)),
    )


def _corrected(level: float, n: Counts) -> float:
    """Bonferroni: the level at which the intervals of all classes hold together."""
    return 1 - (1 - level) / len(n)


def _figures(a: float, b: float, interval: Interval) -> tuple[float, float, float, float, float]:
    return float(a), float(b), float(b - a), float(interval.low), float(interval.high)
