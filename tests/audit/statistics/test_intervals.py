import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from faal.audit.statistics.dispersion import deviation_interval, gap_interval
from faal.audit.statistics.intervals import (
    FALSE_ALARM,
    clopper_pearson,
    distances,
    exceeds,
    lower_bounds,
    lowest_mean_interval,
    mean_interval,
    pooled_interval,
    upper_bounds,
    worst_class_interval,
)

COUNTS = [(0, 1), (1, 1), (0, 10), (10, 10), (3, 10), (7, 30), (199, 200), (240, 1000)]


def test_no_success_and_no_failure_by_hand() -> None:
    low, high = clopper_pearson([0, 20], [20, 20], 0.95)
    assert low[0] == 0
    assert high[1] == 1
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 20), abs=1e-12)
    assert low[1] == pytest.approx(0.025 ** (1 / 20), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_two_sided_is_scipys_exact_interval(k: int, n: int, level: float) -> None:
    expected = binomtest(k, n).proportion_ci(level, method="exact")
    assert np.allclose(clopper_pearson(k, n, level), (expected.low, expected.high), atol=1e-10)


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_one_sided_is_scipys_exact_bound(k: int, n: int) -> None:
    low = binomtest(k, n, alternative="greater").proportion_ci(0.97, method="exact").low
    high = binomtest(k, n, alternative="less").proportion_ci(0.97, method="exact").high
    assert lower_bounds(k, n, 0.03) == pytest.approx(low, abs=1e-10)
    assert upper_bounds(k, n, 0.03) == pytest.approx(high, abs=1e-10)


def test_worst_class_is_made_of_one_sided_bounds() -> None:
    correct, n = [50, 31, 30], [100, 60, 100]
    bounds = [
        (
            binomtest(k, size, alternative="greater").proportion_ci(0.975, method="exact").low,
            binomtest(k, size, alternative="less").proportion_ci(1 - 0.05 / 6, method="exact").high,
        )
        for k, size in zip(correct, n, strict=True)
    ]
    found = worst_class_interval(correct, n, 0.95)
    assert found.low == pytest.approx(min(low for low, _ in bounds), abs=1e-10)
    assert found.high == pytest.approx(min(high for _, high in bounds), abs=1e-10)


def test_counts_need_not_be_whole() -> None:
    """Below half a success too: the bounds rise with the count from that of none."""
    counts = [0, 0.2, 0.4, 0.6, 1]
    assert (np.diff(lower_bounds(counts, 10, 0.1)) > 0).all()
    assert (np.diff(upper_bounds([10 - k for k in counts], 10, 0.1)) < 0).all()


def test_distances_lead_from_the_rate_to_its_bounds() -> None:
    below, above = distances([0, 7, 30], 30, 0.05)
    assert np.allclose(np.array([0, 7, 30]) / 30 - below, lower_bounds([0, 7, 30], 30, 0.05))
    assert np.allclose(np.array([0, 7, 30]) / 30 + above, upper_bounds([0, 7, 30], 30, 0.05))


def test_the_lowest_classes_of_equal_size_are_pooled() -> None:
    # 12 of 150 in the three lowest of five; binom(5, 3) = 10 sets.
    low = binomtest(12, 150, alternative="greater").proportion_ci(0.975, method="exact").low
    high = binomtest(12, 150, alternative="less").proportion_ci(1 - 0.025 / 10, method="exact").high
    assert np.allclose(lowest_mean_interval([30, 5, 4, 3, 20], [50] * 5, 3, 0.95), (low, high))


def test_the_lowest_classes_are_added_where_one_is_tiny() -> None:
    """4 and 400 samples: pooling would take all for 4. By hand: the mean of the two least bounds, whichever classes."""
    correct, n = [2, 200, 100, 300], [4, 400, 400, 400]
    found = lowest_mean_interval(correct, n, 2, 0.95)
    assert found.low == pytest.approx(np.sort(lower_bounds(correct, n, 0.025))[:2].mean())
    assert found.high == pytest.approx(np.sort(upper_bounds(correct, n, 0.025 / 4))[:2].mean())


def test_the_mean_of_all_classes_needs_no_correction() -> None:
    assert np.allclose(lowest_mean_interval([3, 9, 6], [20] * 3, 3, 0.9), mean_interval([3, 9, 6], [20] * 3, 0.9))


def test_thousands_of_classes_have_more_sets_than_a_float_can_count() -> None:
    low, high = lowest_mean_interval(np.full(3000, 25), np.full(3000, 50), 300, 0.95)
    assert 0.45 < low < 0.5 < high < 1


@pytest.mark.parametrize("n", [[30, 30, 30, 30], [10, 30, 50, 90]])
def test_many_draws_at_once_are_as_one_by_one(n: list[int]) -> None:
    correct = np.random.default_rng(4).binomial(n, 0.4, size=(2, 3, 4))
    for interval in (
        pooled_interval,
        mean_interval,
        worst_class_interval,
        lambda *of: lowest_mean_interval(*of[:2], 2, 0.95),
    ):
        together = interval(correct, n, 0.95)
        assert together.low.shape == together.high.shape == (2, 3)
        for place in np.ndindex(2, 3):
            alone = interval(correct[place], n, 0.95)
            assert (together.low[place], together.high[place]) == pytest.approx((alone.low, alone.high))


def test_worst_of_one_class_is_its_own_interval() -> None:
    assert np.allclose(worst_class_interval([7], [30], 0.95), clopper_pearson(7, 30, 0.95))


def test_a_small_class_can_hold_the_low_end_and_a_large_one_the_high_end() -> None:
    found = worst_class_interval([2, 300], [4, 1000], 0.95)
    assert found.low == pytest.approx(float(lower_bounds(2, 4, 0.025)))
    assert found.high == pytest.approx(float(upper_bounds(300, 1000, 0.0125)))


def test_a_class_without_samples_may_stand_anywhere() -> None:
    present = worst_class_interval([5, 8], [10, 10], 0.9)
    assert worst_class_interval([5, 0, 8], [10, 0, 10], 0.9) == (0, present.high)
    low, high = mean_interval([5, 8], [10, 10], 0.9)
    assert np.allclose(mean_interval([5, 0, 8], [10, 0, 10], 0.9), (2 / 3 * low, 2 / 3 * high + 1 / 3))
    assert worst_class_interval([0], [0], 0.9) == (0, 1)
    assert mean_interval([0], [0], 0.9) == (0, 1)
    assert tuple(end.item() for end in clopper_pearson([0], [0], 0.9)) == (0, 1)


def test_the_lowest_classes_may_be_those_without_samples() -> None:
    """Three of five classes, one unseen: it is at 0 for the low end, and not among the lowest for the high one."""
    correct, n = [9, 0, 6, 4, 8], [10, 0, 10, 10, 10]
    found = lowest_mean_interval(correct, n, 3, 0.9)
    present = [9, 6, 4, 8], [10] * 4
    assert found.low == pytest.approx(2 / 3 * lowest_mean_interval(*present, 2, 0.9).low)
    assert found.high == pytest.approx(lowest_mean_interval(*present, 3, 0.9).high)
    # Five of five: the unseen one is among them, at 1.
    assert lowest_mean_interval(correct, n, 5, 0.9).high == pytest.approx(0.8 * mean_interval(*present, 0.9).high + 0.2)


@pytest.mark.parametrize("unseen", [0.0, 0.5, 1.0])
def test_intervals_cover_figures_over_classes_that_were_not_seen(unseen: float) -> None:
    """4,000 draws of four classes, the fifth without samples: at least 95 %, less three standard errors (1.03 %)."""
    p, n = np.array([0.3, 0.35, 0.6, 0.9, unseen]), np.array([40, 40, 40, 40, 0])
    drawn = np.random.default_rng(2).binomial(n, p, size=(4000, 5))
    targets = (
        (mean_interval(drawn, n, 0.95), p.mean()),
        (worst_class_interval(drawn, n, 0.95), p.min()),
        (lowest_mean_interval(drawn, n, 2, 0.95), np.sort(p)[:2].mean()),
        (gap_interval(drawn, n, 0.95), np.ptp(p)),
        (deviation_interval(drawn, n, 0.95), p.std()),
    )
    for (low, high), target in targets:
        assert ((low <= target) & (target <= high)).mean() > 0.939


def test_equal_classes_have_one_interval_for_average_and_balanced() -> None:
    correct, n = [12, 30, 29], [30, 30, 30]
    assert np.allclose(mean_interval(correct, n, 0.95), pooled_interval(correct, n, 0.95))


@settings(max_examples=60, deadline=None, derandomize=True)
@example([(0, 3), (0, 3), (4, 9), (5, 8)])  # where the better kind of bound is another at each of the two levels
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12))
def test_every_interval_holds_its_estimate_and_widens_with_the_level(pairs: list[tuple[int, int]]) -> None:
    correct = np.array([k for k, _ in pairs])
    n = correct + np.array([failures + 1 for _, failures in pairs])
    rates = correct / n
    targets = (
        (pooled_interval, correct.sum() / n.sum()),
        (worst_class_interval, rates.min()),
        (mean_interval, rates.mean()),
        (
            lambda k, n, level: lowest_mean_interval(k, n, -(-len(n) // 3), level),
            np.sort(rates)[: -(-len(n) // 3)].mean(),
        ),
    )
    for interval, value in targets:
        narrow, wide = interval(correct, n, 0.8), interval(correct, n, 0.99)
        assert 0 <= wide.low <= narrow.low <= value + 1e-12
        assert value - 1e-12 <= narrow.high <= wide.high <= 1


def covered(interval, rates: list[float], n: list[int], target: float, draws: int) -> float:  # type: ignore[no-untyped-def]
    low, high = interval(np.random.default_rng(1).binomial(n, rates, size=(draws, len(n))), n, 0.95)
    return float(np.mean((low <= target + 1e-12) & (high >= target - 1e-12)))


# The floor of 0.935 is three standard errors of 2,000 draws below 0.95.
@pytest.mark.parametrize(
    "rates", [[0.3] * 10, list(np.linspace(0.3, 0.8, 10)), [0.05] + [0.9] * 9], ids=["tied", "spread", "one bad"]
)
def test_the_worst_class_is_covered(rates: list[float]) -> None:
    """2,000 draws of 10 classes of 50; a percentile bootstrap covers the tied case in under 1 % of the draws."""
    assert covered(worst_class_interval, rates, [50] * 10, min(rates), 2000) >= 0.935


@pytest.mark.parametrize(
    ("rates", "n"),
    [
        ([0.98] * 10, [20] * 10),  # the square-and-add interval alone covers 92 %
        ([0.9] + [0.999] * 9, [10, *range(30, 210, 20)]),  # the effective size alone covers 63 %
        ([0.5, 0.97, 0.97], [5, 250, 250]),
        ([0.3, 0.6], [40, 10]),
    ],
)
def test_the_balanced_accuracy_is_covered(rates: list[float], n: list[int]) -> None:
    assert covered(mean_interval, rates, n, float(np.mean(rates)), 2000) >= 0.935


@pytest.mark.parametrize(
    ("rates", "n"),
    [
        ([0.3] * 20, [40] * 20),
        ([0.2] * 5 + [0.9] * 15, [5] * 5 + [100] * 15),
        (list(np.linspace(0.01, 0.03, 20)), [50] * 20),
        ([0.0] + [0.1] * 19, [100] * 20),
    ],
)
def test_the_lowest_classes_are_covered(rates: list[float], n: list[int]) -> None:
    target = float(np.sort(rates)[:3].mean())
    assert covered(lambda k, size, level: lowest_mean_interval(k, size, 3, level), rates, n, target, 2000) >= 0.935


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("of", [1, 5, 16, 28, 64, 256])
def test_a_false_alarm_is_as_rare_as_stated_and_no_rarer_than_needed(of: int, share: float) -> None:
    """The probabilities of all counts, summed: exact, against the binomial distribution itself."""
    alarms = [count for count in range(of + 1) if exceeds(count, of, share)]
    assert binom.pmf(alarms, of, share).sum() <= FALSE_ALARM
    least = min(alarms, default=of + 1)
    assert alarms == list(range(least, of + 1))
    assert binom.pmf(range(least - 1, of + 1), of, share).sum() > FALSE_ALARM


def test_no_samples_exceed_no_share() -> None:
    assert not exceeds(0, 0, 0.1)
