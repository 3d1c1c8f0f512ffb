"""From verdicts to estimates: counts per class, accuracies, and their intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.audit.records.result import Accuracies, AttackResult, ClassEstimate, Estimate, Gap, WorstClass, WorstTenth
from faal.audit.records.verdicts import ALL, Verdicts
from faal.audit.statistics.dispersion import deviation_interval, gap_interval
from faal.audit.statistics.intervals import (
    Interval,
    clopper_pearson,
    lowest_mean_interval,
    mean_interval,
    pooled_interval,
    worst_class_interval,
)
from faal.confusion import Confusion
from faal.data import Grouping

MANY_CLASSES = 20
"""The smallest number of classes with samples for which the worst tenth is reported, in audits and comparisons:
then it has two classes or more."""


def lowest_tenth(classes: int) -> int:
    """The number of classes in the worst tenth, rounded up."""
    return -(-classes // 10)


def attack_results(
    verdicts: Verdicts,
    parameters: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, float],
    *,
    classes: Sequence[str],
    level: float,
) -> dict[str, AttackResult]:
    """`summarise` for every attack of `verdicts`. For `all`, parameters and seconds are those of all attacks."""
    settings = {**parameters, ALL: {"attacks": list(parameters)}}
    duration = {**seconds, ALL: sum(seconds.values())}
    return {
        name: summarise(
            verdicts.label, predicted, classes=classes, level=level, parameters=settings[name], seconds=duration[name]
        )
        for name, predicted in verdicts.predicted.items()
    }


def group_accuracies(
    verdicts: Verdicts, groupings: Iterable[Grouping], *, level: float
) -> dict[str, dict[str, Accuracies]]:
    """Accuracies by group: name of the grouping -> attack -> accuracies. The groupings are of the verdicts' samples."""
    return {
        grouping.name: {
            attack: estimates(
                np.bincount(index, minlength=len(grouping.names)),
                np.bincount(index[verdicts.correct(attack)], minlength=len(grouping.names)),
                grouping.names,
                level=level,
            )
            for attack in verdicts.predicted
        }
        for grouping in groupings
        for index in [grouping.index.numpy()]
    }


def summarise(
    label: NDArray[np.int64],
    predicted: NDArray[np.int16],
    *,
    classes: Sequence[str],
    level: float,
    parameters: Mapping[str, Any],
    seconds: float,
) -> AttackResult:
    """The estimates for one attack.

    Args:
        label: (N,) true classes, N at least 1.
        predicted: (N,) predictions under the attack.
        classes: the C classes' names.
        level: nominal coverage of the intervals.
        parameters: the attack's settings, for the record.
        seconds: the duration of the attack.
    """
    confusion = Confusion.of(label, predicted, len(classes))
    found = estimates(confusion.counts.sum(axis=1), confusion.counts.diagonal(), classes, level=level)
    return AttackResult(
        **{item.name: getattr(found, item.name) for item in fields(found)},
        confusion=confusion,
        parameters=dict(parameters),
        seconds=seconds,
    )


def estimates(n: NDArray[np.int64], correct: NDArray[np.int64], names: Sequence[str], *, level: float) -> Accuracies:
    """The estimates from counts.

    Args:
        n: (C,) samples of each class (or group). Classes without samples have no accuracy and are not part of the
            values; the intervals, which cover all C classes, allow for them.
        correct: (C,) the number of them predicted correctly.
        names: the names of the classes.
        level: nominal coverage of the intervals.
    """
    rates = np.divide(correct, n, out=np.full(len(n), np.nan), where=n > 0)
    lows, highs = clopper_pearson(correct, n, level)
    order = [int(c) for c in np.argsort(rates, kind="stable") if n[c]]
    worst, best = order[0], int(np.nanargmax(rates))
    count = lowest_tenth(len(order))
    lowest = order[:count]
    tenth = WorstTenth(
        *_numbers(rates[lowest].mean(), lowest_mean_interval(correct, n, count, level)),
        names=tuple(names[c] for c in lowest),
    )
    return Accuracies(
        average=Estimate(*_numbers(correct.sum() / n.sum(), pooled_interval(correct, n, level))),
        balanced=Estimate(*_numbers(np.nanmean(rates), mean_interval(correct, n, level))),
        worst=WorstClass(*_numbers(rates[worst], worst_class_interval(correct, n, level)), names[worst]),
        worst_tenth=tenth if len(order) >= MANY_CLASSES else None,
        gap=Gap(
            *_numbers(rates[best] - rates[worst], gap_interval(correct, n, level)), best=names[best], worst=names[worst]
        ),
        deviation=Estimate(*_numbers(np.nanstd(rates), deviation_interval(correct, n, level))),
        classes=tuple(
            ClassEstimate(
                float(rates[c]) if n[c] else None, float(lows[c]), float(highs[c]), name, int(n[c]), int(correct[c])
            )
            for c, name in enumerate(names)
        ),
    )


def _numbers(value: float | np.floating[Any], interval: Interval) -> tuple[float, float, float]:
    """Value, low and high as plain numbers."""
    return float(value), float(interval.low), float(interval.high)
