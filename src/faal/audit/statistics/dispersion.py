"""Intervals of the dispersion of the class accuracies: of the gap between best and worst, of the standard deviation.

Both are 0 if all classes are equal, and the observed values overestimate both, since sampling noise separates the
classes. Arguments are those of `intervals.py`.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from faal.audit.statistics.intervals import Array, Interval, distances, present, unknown


def gap_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of max_c p_c - min_c p_c, for any classes that attain them.

    The gap is the difference p_i - p_j of one fixed pair, and at least that of any other pair. So high is the maximum
    over all pairs of upper bounds at alpha/2, uncorrected: high < gap requires that the bound of that pair fails. low
    is the maximum of lower bounds at alpha / (2 C (C - 1)): low > gap requires that one of C (C - 1) fails. A pair's
    bounds are its classes' `distances`, squared and added.

    Args:
        correct: (..., C) correct samples per class.
        n: (C,) samples per class.
        level: nominal coverage, such as 0.95.
    """
    (correct, n), num_classes = present(correct, n), np.size(n)
    if len(n) < 2:
        low, high = unknown(correct)
        return Interval(low, min(num_classes - 1, 1) * high)
    one_side, classes = (1 - level) / 2, len(n)
    correct, n = _distinct(correct, n)
    differences = (correct / n)[..., :, None] - (correct / n)[..., None, :]
    below, above = distances(correct, n, one_side)
    high = (differences + np.hypot(above[..., :, None], below[..., None, :])).max(axis=(-2, -1))
    below, above = distances(correct, n, one_side / (classes * (classes - 1)))
    low = (differences - np.hypot(below[..., :, None], above[..., None, :])).max(axis=(-2, -1))
    if classes < num_classes:  # the accuracy of a class without samples may be 0 or 1
        high = np.ones_like(low)
    return Interval(np.maximum(low, 0.0)[()], np.minimum(high, 1.0)[()])


def _distinct(correct: Array, n: Array) -> tuple[Array, Array]:
    """Distinct counts (C,): equal classes have equal pairs, and most of thousands are equal. Counts with more
    dimensions are unchanged."""
    if correct.ndim > 1:
        return correct, n
    k, size = np.unique(np.stack([correct, n]), axis=1)
    return k, size


def deviation_interval(correct: ArrayLike, n: ArrayLike, level: float) -> Interval:
    """The interval of sigma = ((1/C) sum_c (p_c - mean)^2)^(1/2), the standard deviation over these C classes.

    D, the sum of the squared deviations d_c of the observed rates, exceeds x = C sigma^2 by the samples' noise, whose
    expectation H = (1 - 1/C) sum_c v_c has the unbiased estimate with v_c = p(1 - p)/(n - 1). With y = D - H,

    - the noise times the deviations changes y by up to 2 (b x)^(1/2), b the mean of the classes' squared `distances`
      weighted by their shares of D;
    - the noise squared changes it by q, a quantile of the scaled chi-squared with as many degrees of freedom as H and
      its variance imply (Satterthwaite, 1946). The part of it from the same class as the product is added: at most b
      for low, nothing for high.

    Squared and added, high solves y = x - (4 b x + q^2)^(1/2), and low solves y = x + b + (4 b x + q^2)^(1/2). For low
    the distances are those towards the mean. For high they are the larger ones, and b is at least its value if every
    class differed from the mean by its distance, which is possible for one observed at the mean.

    The interval is extended to the observed standard deviation, which includes the noise and may be above it. Its
    coverage is simulated (2 to 1,000 classes of 5 samples and more, one or a few of them outliers), not proved.

    Args:
        correct: (..., C) correct samples per class.
        n: (C,) samples per class.
        level: nominal coverage, such as 0.95.
    """
    (correct, n), num_classes = present(correct, n), np.size(n)
    classes = len(n)
    if classes < 2:
        low, high = unknown(correct)
        return Interval(low, min(num_classes - 1, 0.5) * high)
    one_side = (1 - level) / 2
    rates = correct / n
    offset = rates - rates.mean(axis=-1, keepdims=True)
    total = (offset**2).sum(axis=-1)
    noise = (1 - 1 / classes) * (rates * (1 - rates) / np.maximum(n - 1, 1)).sum(axis=-1)
    y = np.maximum(total - noise, 0.0)

    v = _variances(correct, n)
    below, above = distances(correct, n, one_side)
    towards_mean, larger = np.where(offset < 0, above, below), np.maximum(below, above)
    # Many classes that differ from the mean only by noise would dilute the share of an outlier.
    beyond_noise = np.maximum(offset**2 - 4 * v, 0.0)
    shares = np.where(beyond_noise.sum(axis=-1, keepdims=True) > 0, beyond_noise, offset**2)
    b = _weighted_mean(towards_mean**2, shares)
    excess, deficit = _square_noise(v, n, one_side)
    low = np.where(y > b + excess, y + b - np.sqrt(4 * b * y + excess**2), 0.0)
    b = np.maximum(_weighted_mean(larger**2, shares), _weighted_mean(larger**2, (np.abs(offset) + larger) ** 2))
    high = y + 2 * b + np.sqrt(4 * b * (b + y) + deficit**2)
    # Classes without samples are at the mean for the lower bound; for the upper bound they are arbitrary.
    high = np.sqrt(np.maximum(high, total) / classes) if classes == num_classes else np.ones_like(low)
    return Interval(np.sqrt(np.maximum(low, 0.0) / num_classes)[()], np.minimum(high, 0.5)[()])


def _variances(correct: Array, n: Array) -> Array:
    """The variances of the rates, with one success and one failure added, so that none is 0."""
    shrunk = (correct + 1) / (n + 2)
    return shrunk * (1 - shrunk) / n


def _square_noise(v: Array, n: Array, alpha: float) -> tuple[Array, Array]:
    """The excess of the squared noise of rates with variances `v` over its expectation, and the deficit, each with
    probability `alpha`. The variance of the squares is from the binomial's fourth moment."""
    classes = len(n)
    expected = (1 - 1 / classes) * v.sum(axis=-1)
    heavy_tails = v**2 * np.maximum(1 / (n**2 * v) - 6 / n, 0.0)
    variance = 2 * ((1 - 2 / classes) * (v**2).sum(axis=-1) + (v.sum(axis=-1) / classes) ** 2)
    variance += (1 - 1 / classes) ** 2 * heavy_tails.sum(axis=-1)
    freedom = 2 * expected**2 / variance
    excess = expected * (chi2.isf(alpha, freedom) / freedom - 1)
    deficit = expected * (1 - chi2.ppf(alpha, freedom) / freedom)
    return excess, deficit


def _weighted_mean(values: Array, weights: Array) -> Array:
    """The weighted mean over the classes; 0 if all weights are 0."""
    total = weights.sum(axis=-1)
    mean: Array = (values * weights).sum(axis=-1) / np.where(total > 0, total, 1.0)
    return mean
