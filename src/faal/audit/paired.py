"""Statistics of two models on the same samples, and of pairs of runs. Differences are b - a, as fractions.

`gained` counts the samples that only b has right, `lost` those that only a has right; the rest says nothing about the
difference.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm, t

from faal.audit.intervals import Array, Interval


def mcnemar(gained: ArrayLike, lost: ArrayLike) -> Array:
    """Exact two-sided McNemar test: the chance of a split as uneven as this one if both directions were equally likely.

    Args:
        gained: (...) samples that only b has right.
        lost: (...) samples that only a has right.
    """
    gained, lost = np.asarray(gained), np.asarray(lost)
    p: Array = np.minimum(1.0, 2 * binom.cdf(np.minimum(gained, lost), gained + lost, 0.5))
    return p


def holm(p: ArrayLike) -> Array:
    """Holm's (1979) correction of (C,) p-values: any true null's falls below alpha with probability alpha at most."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


def paired_intervals(gained: ArrayLike, lost: ArrayLike, n: ArrayLike, level: float) -> tuple[Array, Array]:
    """Intervals of the difference of two accuracies on the same n samples: Bonett and Price (2012).

    A Wald interval with one sample added to each kind of disagreement,
    d -+ z (((g + 1 + l + 1)/(n + 2) - d^2)/(n + 2))^(1/2) with d = (g - l)/(n + 2), which covers also where the two
    hardly disagree.
    """
    g, l_, size = (np.asarray(count, dtype=np.float64) for count in (gained, lost, n))
    difference = (g - l_) / (size + 2)
    half = norm.isf((1 - level) / 2) * np.sqrt(((g + l_ + 2) / (size + 2) - difference**2) / (size + 2))
    return np.maximum(difference - half, -1.0), np.minimum(difference + half, 1.0)


def paired_mean_interval(gained: ArrayLike, lost: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of the difference of the balanced accuracies, from (C,) counts per class, all n above 0.

    For equal classes it is the pooled paired interval, else the classes' distances squared and added (Zou and Donner,
    2008).
    """
    g, l_, size = (np.asarray(count, dtype=np.float64) for count in (gained, lost, n))
    if (size == size[0]).all():
        low, high = paired_intervals(g.sum(), l_.sum(), size.sum(), level)
        return Interval(float(low), float(high))
    differences = (g - l_) / size
    lows, highs = paired_intervals(g, l_, size, level)
    mean = float(differences.mean())
    below, above = np.linalg.norm(differences - lows), np.linalg.norm(highs - differences)
    return Interval(mean - float(below) / len(size), mean + float(above) / len(size))


def t_intervals(differences: ArrayLike, level: float) -> tuple[Array, Array]:
    """Student's interval of the mean over K paired runs, within [-1, 1]: differences (K, ...) -> low and high (...).

    K is at least 2. Runs that all differ by the same leave an interval of no width: no measure of chance is in them.
    """
    d = np.asarray(differences, dtype=np.float64)
    half = t.isf((1 - level) / 2, len(d) - 1) * d.std(axis=0, ddof=1) / np.sqrt(len(d))
    return np.maximum(d.mean(axis=0) - half, -1.0), np.minimum(d.mean(axis=0) + half, 1.0)


def t_test(differences: ArrayLike) -> Array:
    """Two-sided p-values of Student's paired test, (K, ...) -> (...). Runs that all differ by the same get 0 or 1."""
    d = np.asarray(differences, dtype=np.float64)
    error = d.std(axis=0, ddof=1) / np.sqrt(len(d))
    statistic = np.divide(np.abs(d.mean(axis=0)), error, out=np.full(d.shape[1:], np.inf), where=error > 0)
    p: NDArray[np.float64] = 2 * t.sf(statistic, len(d) - 1)
    return np.where((error == 0) & (d.mean(axis=0) == 0), 1.0, p)
