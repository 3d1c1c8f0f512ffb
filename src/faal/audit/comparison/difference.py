"""The difference of two sides under one attack: accuracies, intervals and p-values from their verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faal.audit.estimates import MANY_CLASSES, lowest_tenth
from faal.audit.statistics.dispersion import gap_interval
from faal.audit.statistics.intervals import Array, Interval, lowest_mean_interval
from faal.audit.statistics.paired import (
    holm,
    mcnemar,
    mover_interval,
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
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class ClassDifference(Difference):
    """The difference in one class, its interval and `p` corrected for all classes, so that any class may be reported.

    The interval is at level 1 - alpha/C (Bonferroni); `p` is Holm's correction of McNemar's exact test within one run,
    of Student's paired test over several.
    """

    name: str
    p: float


@dataclass(frozen=True, kw_only=True)
class AttackComparison:
    """The differences under one attack.

    `average` is over samples, `balanced` over classes, `worst` of the lowest class accuracies, `worst_tenth` of the
    means of the lowest tenth (None with fewer than 20 classes), `gap` of best minus worst: the classes need not be the
    same on both sides. With several runs per side the intervals are Student's over the pairs. With one they are the
    paired bootstrap's; that of `worst` is `worst_difference_interval`, and those of `worst_tenth` and `gap` are
    combined from those of the two sides (`mover_interval`): wider than paired intervals.
    """

    average: Difference
    balanced: Difference
    worst: Difference
    worst_tenth: Difference | None
    gap: Difference
    classes: tuple[ClassDifference, ...]


def difference(
    label: NDArray[np.int64], a: NDArray[np.bool_], b: NDArray[np.bool_], names: Sequence[str], level: float, seed: int
) -> AttackComparison:
    """Compare two sides under one attack.

    Args:
        label: (N,) true classes, or groups.
        a: (K, N) whether each run of a predicts the sample correctly.
        b: (K, N) as `a`; run k of b is paired with run k of a.
        names: the classes' or groups' names; those without samples are excluded.
        level: nominal coverage.
        seed: the seed of the bootstrap.
    """
    n = np.bincount(label, minlength=len(names))
    present = np.flatnonzero(n)

    def per_class(correct: NDArray[np.bool_]) -> Counts:
        return np.stack([np.bincount(label[row], minlength=len(names)) for row in correct])[:, present]

    n, correct_a, correct_b = n[present], per_class(a), per_class(b)
    if len(a) == 1:
        gained, lost = per_class(b & ~a)[0], per_class(a & ~b)[0]
        intervals = between_models(correct_a[0], correct_b[0], gained, lost, n, level, seed)
        p = holm(mcnemar(gained, lost))
    else:
        intervals = between_runs(correct_a, correct_b, n, level)
        p = holm(t_test((correct_b - correct_a) / n, step=1 / n))
    values_a, values_b = values(correct_a, n), values(correct_b, n)
    overall = {
        name: Difference(*_numbers(values_a[name].mean(), values_b[name].mean(), interval))
        for name, interval in intervals.overall.items()
    }
    classes = tuple(
        ClassDifference(*_numbers(one, other, Interval(low, high)), names[c], float(corrected_p))
        for c, one, other, low, high, corrected_p in zip(
            present, (correct_a / n).mean(axis=0), (correct_b / n).mean(axis=0), *intervals.classes, p, strict=True
        )
    )
    return AttackComparison(
        average=overall["average"],
        balanced=overall["balanced"],
        worst=overall["worst"],
        worst_tenth=overall["worst_tenth"] if len(n) >= MANY_CLASSES else None,
        gap=overall["gap"],
        classes=classes,
    )


def values(correct: Counts | Array, n: Counts) -> dict[str, Array]:
    """(..., C) counts of (C,) samples -> the statistics (...) over the classes, by the names of `AttackComparison`."""
    ordered = np.sort(correct / n, axis=-1)
    return {
        "average": correct.sum(axis=-1) / n.sum(),
        "balanced": ordered.mean(axis=-1),
        "worst": ordered[..., 0],
        "worst_tenth": ordered[..., : lowest_tenth(len(n))].mean(axis=-1),
        "gap": ordered[..., -1] - ordered[..., 0],
    }


class DifferenceIntervals(NamedTuple):
    """The intervals of the differences: of the statistics of `values`, by name, and of each class."""

    overall: dict[str, Interval]
    classes: Interval


def between_models(
    correct_a: Counts, correct_b: Counts, gained: Counts, lost: Counts, n: Counts, level: float, seed: int
) -> DifferenceIntervals:
    """The intervals of two models, from (C,) counts as in `paired`. For equal class sizes average and balanced are
    equal."""
    average = paired_bootstrap([gained.sum()], [lost.sum()], [n.sum()], level, seed=seed)
    equal_sizes = (n == n[0]).all()
    return DifferenceIntervals(
        overall={
            "average": average,
            "balanced": average if equal_sizes else paired_bootstrap(gained, lost, n, level, seed=seed),
            "worst": worst_difference_interval(correct_a, correct_b, gained, lost, n, level),
            **unpaired(correct_a, correct_b, n, level),
        },
        classes=Interval(*paired_intervals(gained, lost, n, _corrected(level, n))),
    )


def unpaired(correct_a: Counts, correct_b: Counts, n: Counts, level: float) -> dict[str, Interval]:
    """The intervals of `worst_tenth` and `gap`, from (..., C) counts, not using the pairs."""
    values_a, values_b = values(correct_a, n), values(correct_b, n)
    tenth = lowest_tenth(len(n))
    intervals_by_side = {
        "worst_tenth": [lowest_mean_interval(correct, n, tenth, level) for correct in (correct_a, correct_b)],
        "gap": [gap_interval(correct, n, level) for correct in (correct_a, correct_b)],
    }
    return {name: mover_interval(values_a[name], values_b[name], *ends) for name, ends in intervals_by_side.items()}


def between_runs(correct_a: Counts, correct_b: Counts, n: Counts, level: float) -> DifferenceIntervals:
    """The intervals of two methods, from (K, ..., C) counts, K runs per side, and (C,) samples.

    The `step` of each statistic is its smallest possible change, by one sample: for the average of all samples, for a
    class of that class, for the worst class of the smallest class that is worst in any run, for the gap of the smallest
    that is worst or best.
    """
    values_a, values_b = values(correct_a, n), values(correct_b, n)
    rates = np.concatenate([correct_a / n, correct_b / n])
    worst = n[rates.argmin(axis=-1)].min(axis=0)
    steps: dict[str, ArrayLike] = {
        "average": 1 / n.sum(),
        "balanced": 1 / (n.max() * len(n)),
        "worst": 1 / worst,
        "worst_tenth": 1 / (n.max() * lowest_tenth(len(n))),
        "gap": 1 / np.minimum(worst, n[rates.argmax(axis=-1)].min(axis=0)),
    }
    return DifferenceIntervals(
        overall={
            name: Interval(*t_intervals(values_b[name] - values_a[name], level, step=step))
            for name, step in steps.items()
        },
        classes=Interval(*t_intervals((correct_b - correct_a) / n, _corrected(level, n), step=1 / n)),
    )


def _corrected(level: float, n: Counts) -> float:
    """Bonferroni: the level at which the intervals of all classes hold jointly."""
    return 1 - (1 - level) / len(n)


def _numbers(a: float, b: float, interval: Interval) -> tuple[float, float, float, float, float]:
    return float(a), float(b), float(b - a), float(interval.low), float(interval.high)
