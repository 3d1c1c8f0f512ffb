import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from faal.audit.statistics.dispersion import deviation_interval, gap_interval


def exact(k: int, n: int, alpha: float) -> tuple[float, float]:
    """SciPy's one-sided bounds."""
    low = binomtest(k, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    high = binomtest(k, n, alternative="less").proportion_ci(1 - alpha, method="exact").high
    return low, high


def test_the_gap_of_two_classes_by_hand() -> None:
    found = gap_interval([45, 20], [50, 50], 0.9)
    (_, best_high), (worst_low, _) = exact(45, 50, 0.05), exact(20, 50, 0.05)
    assert found.high == pytest.approx(0.5 + np.hypot(best_high - 0.9, 0.4 - worst_low))
    (best_low, _), (_, worst_high) = exact(45, 50, 0.025), exact(20, 50, 0.025)  # two ordered pairs
    assert found.low == pytest.approx(0.5 - np.hypot(0.9 - best_low, worst_high - 0.4))


def test_the_pairs_of_equal_classes_count_once() -> None:
    """Counts of several draws at a time have every pair."""
    draw = np.random.default_rng(0)
    for classes in (2, 5, 60):
        n = draw.integers(0, 5, classes)
        correct = draw.binomial(n, 0.6)
        alone, together = gap_interval(correct, n, 0.95), gap_interval(correct[None], n, 0.95)
        assert (alone.low, alone.high) == (together.low[0], together.high[0])


def test_the_gap_may_lie_between_other_classes_than_it_seems() -> None:
    """The tiny class is observed in the middle, and may be the best or the worst."""
    sure = gap_interval([700, 300], [1000, 1000], 0.95)
    unsure = gap_interval([700, 300, 2], [1000, 1000, 4], 0.95)
    assert unsure.high > sure.high + 0.1
    assert unsure.low == pytest.approx(sure.low, abs=0.03)


def test_classes_that_may_be_alike_may_have_no_gap_and_no_deviation() -> None:
    for interval in (gap_interval, deviation_interval):
        low, high = interval([50, 48, 53], [100] * 3, 0.95)
        assert low == 0
        assert 0.02 < high < 0.3


def test_the_deviation_of_large_classes_is_that_of_the_delta_method() -> None:
    """Far above the noise, var(sigma) is the sum of ((p - mean) / (C sigma))^2 p (1 - p) / n."""
    p, n = np.array([0.2, 0.4, 0.5, 0.7, 0.8]), 100_000
    low, high = deviation_interval(p * n, np.full(5, n), 0.95)
    slope = (p - p.mean()) / (5 * p.std())
    half = 1.959964 * np.sqrt((slope**2 * p * (1 - p) / n).sum())
    assert (low, high) == pytest.approx((p.std() - half, p.std() + half), abs=0.06 * half)


def test_one_class_or_none() -> None:
    for interval, most in ((gap_interval, 1), (deviation_interval, 0.5)):
        assert interval([3], [9], 0.9) == (0, 0)
        assert interval([0], [0], 0.9) == (0, 0)
        assert interval([3, 0], [9, 0], 0.9) == (0, most)
        assert interval([0, 0], [0, 0], 0.9) == (0, most)


def test_a_class_without_samples_may_stand_anywhere() -> None:
    correct, n = [90, 20], [100, 100]
    assert gap_interval([90, 0, 20], [100, 0, 100], 0.9) == (gap_interval(correct, n, 0.9).low, 1)
    found = deviation_interval([90, 0, 20], [100, 0, 100], 0.9)
    assert found.low == pytest.approx(np.sqrt(2 / 3) * deviation_interval(correct, n, 0.9).low)  # it is at the mean
    assert found.high == 0.5


def test_many_draws_at_once_are_as_one_by_one() -> None:
    n = np.array([10, 30, 50])
    correct = np.random.default_rng(4).binomial(n, 0.4, size=(2, 3, 3))
    for interval in (gap_interval, deviation_interval):
        together = interval(correct, n, 0.95)
        for place in np.ndindex(2, 3):
            alone = interval(correct[place], n, 0.95)
            assert (together.low[place], together.high[place]) == pytest.approx((alone.low, alone.high))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=12))
def test_every_interval_holds_its_estimate_and_widens_with_the_level(pairs: list[tuple[int, int]]) -> None:
    correct = np.array([k for k, _ in pairs])
    n = correct + np.array([failures + 1 for _, failures in pairs])
    rates = correct / n
    for interval, value in ((gap_interval, np.ptp(rates)), (deviation_interval, rates.std())):
        narrow, wide = interval(correct, n, 0.8), interval(correct, n, 0.99)
        assert 0 <= wide.low <= narrow.low <= value + 1e-12
        assert value - 1e-12 <= narrow.high <= wide.high + 1e-12 <= 1 + 1e-12


# The floor of 0.935 is three standard errors of 2,000 draws below 0.95; 100 classes get 500, for time.
@pytest.mark.parametrize(
    ("rates", "n"),
    [
        ([0.5] * 5, [30] * 5),
        ([0.3, 0.95, 0.95], [30] * 3),  # 93 % where each class's own variance replaces its distances
        (
            [0.9] + [0.999] * 9,
            [10, *range(30, 210, 20)],
        ),  # 86 % where a class observed at the mean is taken to be there
        ([0.5] + [0.98] * 99, [100] * 100),  # 92 % where the noise of 99 classes dilutes the one
        ([0.2, 0.8], [10, 10]),
        ([0.01, 0.02, 0.03, 0.02], [100] * 4),
    ],
)
def test_gap_and_deviation_are_covered(rates: list[float], n: list[int]) -> None:
    correct = np.random.default_rng(2).binomial(n, rates, size=(500 if len(n) == 100 else 2000, len(n)))
    for interval, target in ((gap_interval, np.ptp(rates)), (deviation_interval, np.std(rates))):
        low, high = interval(correct, n, 0.95)
        assert np.mean((low <= target + 1e-12) & (high >= target - 1e-12)) >= 0.935
