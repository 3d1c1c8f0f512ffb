"""Statistics of two models on the same samples, and of pairs of runs. Differences are b - a, as fractions.

`gained` counts the samples that only b predicts correctly, `lost` those that only a predicts correctly; the others
contain no information about the difference. Counts are per class, (..., C), of `n` (C,) samples, all above 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm, t

from faal.audit.statistics.intervals import Array, Interval, distances, lower_bounds, upper_bounds

RESAMPLES = 9999
"""Chosen so that the 2.5 % and 97.5 % quantiles are resampled values: the 250th lowest and the 250th highest."""

CHUNK = 2**18
"""Pairs of classes, or resampled classes, computed at a time: those of thousands of classes exceed the memory."""

ANGLES = 7
"""The grid of angles that split the normal quantile between the bounds of a and b; an angle in between would tighten a
bound by less than 1 %."""


def mcnemar(gained: ArrayLike, lost: ArrayLike) -> Array:
    """Exact two-sided McNemar test: the probability of a split at least as uneven as this one if both directions were
    equally likely.

    Args:
        gained: (...) samples that only b predicts correctly.
        lost: (...) samples that only a predicts correctly.
    """
    gained, lost = np.asarray(gained), np.asarray(lost)
    p: Array = np.minimum(1.0, 2 * binom.cdf(np.minimum(gained, lost), gained + lost, 0.5))
    return p


def holm(p: ArrayLike) -> Array:
    """Holm's (1979) correction of (..., C) p-values: any true null is below alpha with at most that probability."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(1.0, np.maximum.accumulate(steps, axis=-1)), axis=-1)
    return corrected


def paired_intervals(gained: ArrayLike, lost: ArrayLike, n: ArrayLike, level: float) -> tuple[Array, Array]:
    """Intervals of the difference of two accuracies on the same n samples, elementwise, within [-1, 1].

    The difference is that of the rates of gained and of lost samples, g - l. Their Clopper-Pearson `distances` are
    squared and added, with the correlation -r that two cells of one table have (Zou and Donner, 2008):
    low = g - l - (d_g^2 + d_l^2 + 2 r d_g d_l)^(1/2) with d_g below g and d_l above l, high likewise, and
    r^2 = g l / ((1 - g)(1 - l)). Intervals from a standard error (Wald, Bonett and Price) are valid for one class but
    not at the high confidence levels required by a correction for many classes: if b only gains, more than 10 % of the
    intervals miss the true difference.
    """
    g, l_, size = (np.asarray(count, dtype=np.float64) for count in (gained, lost, n))
    rate_g, rate_l = g / size, l_ / size
    rest = (1 - rate_g) * (1 - rate_l)
    r = np.sqrt(rate_g * rate_l / np.where(rest > 0, rest, 1.0))
    alpha = (1 - level) / 2
    (g_below, g_above), (l_below, l_above) = distances(g, size, alpha), distances(l_, size, alpha)
    low = rate_g - rate_l - np.sqrt(g_below**2 + l_above**2 + 2 * r * g_below * l_above)
    high = rate_g - rate_l + np.sqrt(g_above**2 + l_below**2 + 2 * r * g_above * l_below)
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def paired_bootstrap(
    gained: ArrayLike, lost: ArrayLike, n: ArrayLike, level: float, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """The interval of the mean over S groups of the difference, by resampling each group's pairs of samples.

    The percentile interval (Efron, 1979) with one gained and one lost sample added to each group (after Bonett and
    Price, 2012): two models that agree on every sample are not known to be equal. The added samples bias each group
    towards 0, which would accumulate over a hundred groups, so the resamples are shifted back: their mean is the
    observed difference. A pair is gained, lost or neither, so that a resample is a draw of three counts.

    Args:
        gained: (S,) samples that only b predicts correctly, per group; one group for the difference over all samples.
        lost: (S,) samples that only a predicts correctly.
        n: (S,) samples.
        level: nominal coverage.
        seed: the seed of the resampling.
        resamples: the number of resamples.
    """
    g, l_, size = (np.asarray(count, dtype=np.float64) for count in (gained, lost, n))
    cells = np.stack([g + 1, l_ + 1, np.maximum(size - g - l_, 0)], axis=-1) / (size + 2)[:, None]
    cells /= cells.sum(axis=-1, keepdims=True)
    generator, means = np.random.default_rng(seed), np.empty(resamples)
    rows = max(1, CHUNK // len(size))
    for start in range(0, resamples, rows):
        chunk = means[start : start + rows]
        drawn = generator.multinomial(size.astype(np.int64), cells, size=(len(chunk), len(size)))
        chunk[:] = ((drawn[..., 0] - drawn[..., 1]) / size).mean(axis=-1)
    means += ((g - l_) / size - (cells[:, 0] - cells[:, 1])).mean()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], method="weibull").clip(-1, 1)
    return Interval(low, high)


def worst_difference_interval(
    correct_a: ArrayLike, correct_b: ArrayLike, gained: ArrayLike, lost: ArrayLike, n: ArrayLike, level: float
) -> Interval:
    """The interval of min_c b_c - min_c a_c, the difference of the worst classes, the same class or not, with ties.

    The target is min_c max_k (b_c - a_k), so that low = min_c max_k L_ck and high = max_k min_c U_ck from lower and
    upper bounds of the b_c - a_k, each at alpha/(2C). Valid, because the class w that is truly worst under b is one
    fixed class: if its C lower bounds hold jointly, max_k L_wk is below the target, and low is below that. So the
    correction is for the C choices of k and not for those of w; similarly for high.

    For c = k the bounds are those of the pairs of samples. Otherwise the rates are independent, and with z the normal
    quantile of alpha/(2C), U_ck is the upper bound of b_c at z cos t minus the lower bound of a_k at z sin t, at the
    angle t where that is largest: for distances proportional to z this would be their root sum of squares. Near 0 they
    are not proportional: for a rare class observed slightly above 0, a much lower rate is almost as likely.

    Args:
        correct_a: (..., C) samples that a predicts correctly.
        correct_b: (..., C) samples that b predicts correctly.
        gained: (..., C) samples that only b predicts correctly.
        lost: (..., C) samples that only a predicts correctly.
        n: (C,) samples.
        level: nominal coverage.
    """
    size = np.asarray(n, dtype=np.float64)
    corrected = 1 - (1 - level) / len(size)
    a, b = (np.asarray(correct, dtype=np.float64) for correct in (correct_a, correct_b))
    paired, bounds = paired_intervals(gained, lost, size, corrected), []
    for angle in np.linspace(0, np.pi / 2, ANGLES):
        alpha_a, alpha_b = norm.sf(norm.isf((1 - corrected) / 2) * np.array([np.sin(angle), np.cos(angle)]))
        bounds_a = lower_bounds(a, size, alpha_a), upper_bounds(a, size, alpha_a)
        bounds.append((*bounds_a, lower_bounds(b, size, alpha_b), upper_bounds(b, size, alpha_b)))
    lows, highs = [], []
    rows = max(1, CHUNK // len(size))
    for rows_of_chunk in np.split(np.arange(len(size)), range(rows, len(size), rows)):
        low, high = (
            np.ones((*a.shape[:-1], len(rows_of_chunk), len(size))),
            -np.ones((*a.shape[:-1], len(rows_of_chunk), len(size))),
        )
        for a_low, a_high, b_low, b_high in bounds:
            np.minimum(low, b_low[..., rows_of_chunk, None] - a_high[..., None, :], out=low)
            np.maximum(high, b_high[..., rows_of_chunk, None] - a_low[..., None, :], out=high)
        (
            low[..., rows_of_chunk - rows_of_chunk[0], rows_of_chunk],
            high[..., rows_of_chunk - rows_of_chunk[0], rows_of_chunk],
        ) = (end[..., rows_of_chunk] for end in paired)
        lows.append(low.max(axis=-1).min(axis=-1))
        highs.append(high.min(axis=-2))
    return Interval(np.min(lows, axis=0), np.min(highs, axis=0).max(axis=-1))


def mover_interval(a: ArrayLike, b: ArrayLike, interval_a: Interval, interval_b: Interval) -> Interval:
    """The interval of the difference of two estimates from their own intervals, within [-1, 1].

    Zou and Donner (2008): the distances to their bounds squared and added, as for independent estimates. The errors of
    two models on the same samples are mostly correlated, so that the interval is wider than necessary.

    Args:
        a: (...) the first estimate.
        b: (...) the second estimate.
        interval_a: the interval of a, which contains it.
        interval_b: the interval of b.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    low = b - a - np.hypot(b - interval_b.low, interval_a.high - a)
    high = b - a + np.hypot(interval_b.high - b, a - interval_a.low)
    return Interval(np.maximum(low, -1.0)[()], np.minimum(high, 1.0)[()])


def t_intervals(differences: ArrayLike, level: float, *, step: ArrayLike = 0.0) -> tuple[Array, Array]:
    """Student's interval of the mean over K paired runs, within [-1, 1]: differences (K, ...) -> low and high (...).

    Args:
        differences: (K, ...), K at least 2.
        level: nominal coverage.
        step: (...) the smallest possible change of the accuracy, that by one sample. The standard deviation is at
            least half of it: K runs with equal counts do not show that training is deterministic.
    """
    d = np.asarray(differences, dtype=np.float64)
    half = t.isf((1 - level) / 2, len(d) - 1) * _standard_error(d, step)
    return np.maximum(d.mean(axis=0) - half, -1.0), np.minimum(d.mean(axis=0) + half, 1.0)


def t_test(differences: ArrayLike, *, step: ArrayLike = 0.0) -> Array:
    """Two-sided p-values of Student's paired test, (K, ...) -> (...), `step` as in `t_intervals`.

    If all differences are equal and `step` is 0, the p-value is 0 or 1.
    """
    d = np.asarray(differences, dtype=np.float64)
    error, size = _standard_error(d, step), np.abs(d.mean(axis=0))
    statistic = np.divide(size, error, out=np.where(size > 0, np.inf, 0.0), where=error > 0)
    p: NDArray[np.float64] = 2 * t.sf(statistic, len(d) - 1)
    return p


def _standard_error(differences: Array, step: ArrayLike) -> Array:
    """The standard error of the mean over the runs."""
    deviation = np.maximum(differences.std(axis=0, ddof=1), np.asarray(step, dtype=np.float64) / 2)
    error: Array = deviation / np.sqrt(len(differences))
    return error
