"""Intervals for accuracies: what the finite test sample leaves open. Numpy arrays in, numbers out.

Counts are (C,) arrays: `correct` of `n` samples of each class, independent given the model. A class without samples
has the interval [0, 1] and takes no part in a worst class or in a mean over the classes. Each function covers its own
target with at least the stated level; `mean_interval` for unequal classes alone rests on simulation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

METHOD = (
    "average: Clopper-Pearson; classes: Clopper-Pearson, each by itself; worst class: least one-sided lower bound at "
    "alpha/2, least upper bound at alpha/(2C); balanced: Clopper-Pearson of the effective sample size, for unequal "
    "classes widened by the squared-and-added Clopper-Pearson distances"
)
"""What `audit.json` says about its intervals."""

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """Low and high end, fractions in [0, 1]."""

    low: float
    high: float


def lower_bounds(correct: ArrayLike, n: ArrayLike, alpha: float) -> Array:
    """One-sided exact binomial lower bounds: above the true rate with probability at most `alpha`.

    Clopper and Pearson (1934): the alpha quantile of Beta(k, n - k + 1), 0 where k = 0.
    """
    k, size = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    bounds = beta.ppf(alpha, np.maximum(k, 0.5), size - k + 1)
    return np.where(k > 0, bounds, 0.0)


def upper_bounds(correct: ArrayLike, n: ArrayLike, alpha: float) -> Array:
    """One-sided exact binomial upper bounds: the 1 - alpha quantile of Beta(k + 1, n - k), 1 where k = n."""
    k, size = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    bounds = beta.isf(alpha, k + 1, np.maximum(size - k, 0.5))
    return np.where(k < size, bounds, 1.0)


def clopper_pearson(correct: ArrayLike, n: ArrayLike, level: float) -> tuple[Array, Array]:
    """Two-sided exact binomial intervals, alpha/2 on each side; low and high of the arguments' shape."""
    alpha = 1 - level
    return lower_bounds(correct, n, alpha / 2), upper_bounds(correct, n, alpha / 2)


def pooled_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of the accuracy over all samples: Clopper-Pearson of the pooled counts.

    Where the classes' rates differ, the pooled count varies less than a binomial one (Hoeffding, 1956): still covered.
    """
    low, high = clopper_pearson(np.sum(correct), np.sum(n), level)
    return Interval(float(low), float(high))


def worst_class_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of min_c p_c, the accuracy of the class that is truly worst, whichever that is.

    low is the least of the lower bounds at alpha/2, *not* corrected for C: low > min p needs the bound of the truly
    worst class to fail, one event of probability alpha/2. high is the least of the upper bounds at alpha/(2C):
    high < min p needs one of C bounds to fail, alpha/2 together. The coverage is therefore at least 1 - alpha, for any
    rates, ties included.

    Args:
        correct: (C,) correct samples per class.
        n: (C,) samples per class.
        level: nominal coverage, such as 0.95.
    """
    correct, n = _present(correct, n)
    alpha = 1 - level
    low = lower_bounds(correct, n, alpha / 2)
    high = upper_bounds(correct, n, alpha / (2 * max(len(n), 1)))
    return Interval(float(low.min(initial=1.0)) if len(n) else 0.0, float(high.min(initial=1.0)))


def mean_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of (1/C) sum_c p_c, the balanced accuracy.

    Clopper-Pearson at the effective size m = C^2 / sum_c 1/n_c (Kish, 1965), at which equal rates have the mean's
    variance. For equal classes that is the pooled count, and sound. Unequal ones may deviate from it, so their
    interval is the hull with the square-and-add interval (Zou and Donner, 2008) of the classes' distances d_c:
    mean -+ (1/C) (sum_c d_c^2)^(1/2). Each of the two alone falls well short of the level somewhere (many classes near
    0 or 1; a rare class that is unlike the rest); the hull kept it in every simulated case, C from 2 to 100 and n
    from 2 to 5,000.

    Args:
        correct: (C,) correct samples per class.
        n: (C,) samples per class.
        level: nominal coverage, such as 0.95.
    """
    correct, n = _present(correct, n)
    if len(n) == 0:
        return Interval(0.0, 1.0)
    rates = correct / n
    mean = float(rates.mean())
    effective = len(n) ** 2 / (1 / n).sum()
    low, high = (float(end) for end in clopper_pearson(mean * effective, effective, level))
    if (n != n[0]).any():
        lows, highs = clopper_pearson(correct, n, level)
        low = min(low, mean - float(np.linalg.norm(rates - lows)) / len(n))
        high = max(high, mean + float(np.linalg.norm(highs - rates)) / len(n))
    return Interval(max(low, 0.0), min(high, 1.0))


def _present(correct: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """The counts of the classes that have samples."""
    k, size = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return k[size > 0], size[size > 0]
