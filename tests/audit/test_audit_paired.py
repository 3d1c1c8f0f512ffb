import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp, ttest_rel

from faal.audit.paired import holm, mcnemar, paired_intervals, paired_mean_interval, t_intervals, t_test


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (3, 9), (7, 7), (40, 22)])
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(lost, gained) == pytest.approx(expected, abs=1e-12)


def test_holm_by_hand() -> None:
    # Sorted: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .9.
    assert holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])


def test_the_paired_interval_by_hand() -> None:
    # (g, l, n) = (8, 2, 98): d = 6/100, variance (12/100 - 0.0036)/100.
    low, high = paired_intervals(8, 2, 98, 0.95)
    half = 1.959963985 * np.sqrt((0.12 - 0.0036) / 100)
    assert (low, high) == pytest.approx((0.06 - half, 0.06 + half))


def test_the_paired_interval_stays_within_its_range_and_has_width_without_disagreement() -> None:
    low, high = paired_intervals([3, 0], [0, 0], [3, 50], 0.99)
    assert high[0] == 1
    assert low[1] < 0 < high[1]


def test_the_paired_interval_covers() -> None:
    """4,000 draws; the floor is three standard errors below 0.95."""
    gained, lost, _ = np.random.default_rng(0).multinomial(120, [0.06, 0.02, 0.92], size=4000).T
    low, high = paired_intervals(gained, lost, 120, 0.95)
    assert np.mean((low <= 0.04) & (high >= 0.04)) >= 0.94


def test_the_mean_over_equal_classes_is_the_pooled_interval() -> None:
    expected = paired_intervals(9, 4, 100, 0.95)
    assert paired_mean_interval([8, 1], [1, 3], [50, 50], 0.95) == pytest.approx(expected)


def test_the_mean_over_unequal_classes_covers() -> None:
    n, rates = np.array([12, 60, 200]), np.array([[0.2, 0.1], [0.05, 0.02], [0.03, 0.06]])
    generator = np.random.default_rng(2)
    shares = np.column_stack([rates, 1 - rates.sum(axis=1)])
    draws = [generator.multinomial(size, share, size=2000) for size, share in zip(n, shares, strict=True)]
    target = float((rates[:, 0] - rates[:, 1]).mean())
    hits = 0
    for row in zip(*draws, strict=True):
        counts = np.array(row)
        low, high = paired_mean_interval(counts[:, 0], counts[:, 1], n, 0.95)
        hits += low <= target <= high
    assert hits / 2000 >= 0.935


def test_students_interval_and_test_are_scipys() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.random((2, 5, 4)) * 0.5
    expected = ttest_1samp(b - a, 0).confidence_interval(0.9)
    assert np.allclose(t_intervals(b - a, 0.9), (expected.low, expected.high))
    assert np.allclose(t_test(b - a), ttest_rel(b, a).pvalue)


def test_students_interval_stays_within_differences_of_accuracies() -> None:
    assert np.allclose(t_intervals([0.0, 0.6], 0.99), (-1, 1))


def test_runs_that_agree_exactly_have_no_measure_of_chance() -> None:
    differences = np.array([[0.25, 0.0], [0.25, 0.0]])
    assert np.allclose(t_intervals(differences, 0.95), ([0.25, 0], [0.25, 0]))
    assert t_test(differences).tolist() == [0, 1]
