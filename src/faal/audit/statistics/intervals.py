"""Confidence intervals of accuracies over the draw of the test sample, and a test of a proportion.

Counts are `correct` of `n` samples of each class, independent given the model: `n` is (C,), `correct` (..., C), and the
bounds of an interval have the leading shape. A statistic over the classes is over all C: the accuracy of a class
without samples is only known to be in [0, 1], and every interval allows for both bounds.
`benchmarks/simulations/coverage.py` simulates the coverage of each interval.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb
from scipy.stats import beta, norm

METHOD = (
    "average: Clopper-Pearson; classes: Clopper-Pearson, each by itself; balanced: Clopper-Pearson of the effective "
    "sample size, for unequal classes widened by the squared-and-added Clopper-Pearson distances; worst class: least "
    "one-sided lower bound at alpha/2, least upper bound at alpha/(2C); worst tenth: the same for the mean of the "
    "lowest classes, pooled; gap: Clopper-Pearson distances of pairs of classes, squared and added, the high end "
    "uncorrected, the low end corrected for all pairs; standard deviation: the squared deviation less its expected "
    "noise, inverted; a class without samples: anywhere from 0 to 1, in all of these"
)
"""The methods of the intervals, recorded in `audit.json`."""

FALSE_ALARM = 1e-3
"""The largest probability of a false alarm of a check for misuse."""

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """Lower and upper bound, fractions: numbers, or arrays of the counts' leading shape."""

    low: Array
    high: Array


def lower_bounds(correct: ArrayLike, n: ArrayLike, alpha: float) -> Array:
    """One-sided exact binomial lower bounds: above the true rate with probability at most `alpha`.

    Clopper and Pearson (1934): the alpha quantile of Beta(k, n - k + 1), 0 where k = 0. Counts need not be integers.
    """
    k, size = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    bounds = beta.ppf(alpha, np.where(k > 0, k, 1.0), size - k + 1)
    return np.where(k > 0, bounds, 0.0)


def upper_bounds(correct: ArrayLike, n: ArrayLike, alpha: float) -> Array:
    """One-sided exact binomial upper bounds: the 1 - alpha quantile of Beta(k + 1, n - k), 1 where k = n."""
    k, size = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    bounds = beta.isf(alpha, k + 1, np.where(k < size, size - k, 1.0))
    return np.where(k < size, bounds, 1.0)


def clopper_pearson(correct: ArrayLike, n: ArrayLike, level: float) -> tuple[Array, Array]:
    """Two-sided exact binomial intervals, alpha/2 on each side; low and high of the arguments' shape."""
    alpha = 1 - level
    return lower_bounds(correct, n, alpha / 2), upper_bounds(correct, n, alpha / 2)


def exceeds(count: int, total: int, proportion: float, alpha: float = FALSE_ALARM) -> bool:
    """Whether `count` of `total` samples shows a true proportion above `proportion`.

    The exact one-sided binomial test: true with probability at most `alpha` if the true proportion is not larger.
    """
    return float(lower_bounds(count, total, alpha)) > proportion


def distances(correct: ArrayLike, n: ArrayLike, alpha: float) -> tuple[Array, Array]:
    """The distances from the rates to their one-sided bounds at `alpha`, below and above.

    Zou and Donner (2008), "squared and added": the bound of a sum of independent estimates is at the root sum of
    squares of the distances to their bounds on that side. Unlike standard errors these are above 0 at rates
    of 0 and 1.
    """
    rates = np.asarray(correct, dtype=np.float64) / np.asarray(n, dtype=np.float64)
    return rates - lower_bounds(correct, n, alpha), upper_bounds(correct, n, alpha) - rates


def pooled_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of the accuracy over all samples: Clopper-Pearson of the pooled counts.

    If the classes' rates differ, the pooled count varies less than a binomial one (Hoeffding, 1956): still valid.
    """
    low, high = clopper_pearson(np.sum(correct, axis=-1), np.sum(n), level)
    return Interval(low[()], high[()])


def mean_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of (1/C) sum_c p_c, the balanced accuracy.

    Clopper-Pearson at the effective size m = C^2 / sum_c 1/n_c (Kish, 1965), at which equal rates have the variance
    of the mean. For equal classes that is the pooled count, and the coverage is guaranteed. For unequal ones the
    variance may differ, so their interval is the hull with the square-and-add interval of the classes' `distances` d_c:
    mean -+ (1/C) (sum_c d_c^2)^(1/2). Each of the two has too low a coverage in some cases (many classes near 0 or 1;
    a rare class with a different rate); the hull had the nominal coverage in every simulated case, C from 2 to 100 and
    n from 2 to 5,000.

    Args:
        correct: (..., C) correct samples per class.
        n: (C,) samples per class.
        level: nominal coverage, such as 0.95.
    """
    (correct, n), num_classes = present(correct, n), np.size(n)
    if len(n) == 0:
        return unknown(correct)
    mean = (correct / n).mean(axis=-1)
    effective = len(n) ** 2 / (1 / n).sum()
    low, high = clopper_pearson(mean * effective, effective, level)
    if (n != n[0]).any():
        below, above = (np.linalg.norm(d, axis=-1) / len(n) for d in distances(correct, n, (1 - level) / 2))
        low, high = np.minimum(low, mean - below), np.maximum(high, mean + above)
    share = len(n) / num_classes
    return Interval(share * np.maximum(low, 0.0)[()], 1 - share * (1 - np.minimum(high, 1.0)[()]))


def worst_class_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of min_c p_c, the accuracy of the truly worst class.

    low is the minimum of the lower bounds at alpha/2, *not* corrected for C: low > min p requires that the bound of the
    truly worst class fails, one event of probability alpha/2. high is the minimum of the upper bounds at alpha/(2C):
    high < min p requires that one of C bounds fails, alpha/2 in total. The coverage is therefore at least 1 - alpha,
    for any rates, with ties.

    Args:
        correct: (..., C) correct samples per class.
        n: (C,) samples per class.
        level: nominal coverage, such as 0.95.
    """
    return lowest_mean_interval(correct, n, 1, level)


def lowest_mean_interval(correct: ArrayLike, n: ArrayLike, count: int, level: float) -> Interval:
    """The interval of T, the mean rate of the m = `count` truly lowest classes.

    The argument is that of the worst class. T is the mean over one fixed set of m classes, so a lower bound of *that*
    mean at alpha/2 is valid, and the minimum over all sets is below it: no correction. T is at most the mean over any
    set, so the minimum of upper bounds that hold jointly for all sets is valid. There are two kinds of bounds of a set:

    - pooled: Clopper-Pearson of m n_min samples with the set's mean rate, n_min the smallest class (unequal rates and
      more samples only reduce the variance of the mean: Hoeffding, 1956); upper bounds at alpha / (2 binom(C, m));
    - added: the mean of the classes' bounds, the lower ones at alpha/2, the upper ones at alpha/(2C).

    Pooling is narrower unless one class is much smaller than the rest. Each bound is of the kind that would be narrower
    at equal rates and a level of 95 %, which depends only on the sizes: a choice by the counts would reduce the
    coverage, and a choice by the level could make an interval narrower at a higher level. At m = 1 both kinds are
    equal, and this is `worst_class_interval`.

    Args:
        correct: (..., C) correct samples per class.
        n: (C,) samples per class.
        count: m, from 1 to C.
        level: nominal coverage, such as 0.95.
    """
    (correct, n), num_classes = present(correct, n), np.size(n)
    # The classes without samples are 0 for the lower bound, among the lowest, and 1 for the upper bound, the highest.
    low_count, high_count = max(count - (num_classes - len(n)), 0), min(count, len(n))
    low, high = unknown(correct)
    if low_count:
        low = low_count / count * _lowest_mean_low(correct, n, low_count, level)
    if high_count:
        high = 1 - high_count / count * (1 - _lowest_mean_high(correct, n, high_count, level))
    return Interval(low, high)


def _lowest_mean_low(correct: Array, n: Array, count: int, level: float) -> Array:
    """The lower bound if all classes have samples."""
    one_side = (1 - level) / 2
    pooled_size = count * n.min()
    if pooled_size**-0.5 <= (n**-0.5).mean():
        return lower_bounds(_lowest_mean(correct / n, count) * pooled_size, pooled_size, one_side)[()]
    return _lowest_mean(lower_bounds(correct, n, one_side), count)


def _lowest_mean_high(correct: Array, n: Array, count: int, level: float) -> Array:
    """The upper bound if all classes have samples."""
    one_side, reference_side = (1 - level) / 2, (1 - 0.95) / 2
    pooled_size, sets = count * n.min(), comb(len(n), count)
    if norm.isf(reference_side / sets) * pooled_size**-0.5 <= norm.isf(reference_side / len(n)) * (n**-0.5).mean():
        return upper_bounds(_lowest_mean(correct / n, count) * pooled_size, pooled_size, one_side / sets)[()]
    return _lowest_mean(upper_bounds(correct, n, one_side / len(n)), count)


def present(correct: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """The counts of the classes that have samples."""
    k, size = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return k[..., size > 0], size[size > 0]


def unknown(correct: Array) -> Interval:
    """The interval without samples: [0, 1]."""
    return Interval(np.zeros(correct.shape[:-1])[()], np.ones(correct.shape[:-1])[()])


def _lowest_mean(values: Array, count: int) -> Array:
    """The mean of the `count` lowest values."""
    least: Array = np.sort(values, axis=-1)[..., :count].mean(axis=-1)
    return least
