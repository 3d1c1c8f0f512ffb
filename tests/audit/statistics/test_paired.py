import numpy as np
import pytest
from scipy.stats import binomtest, norm, t, ttest_1samp, ttest_rel

from faal.audit.statistics import paired as module
from faal.audit.statistics.intervals import distances
from faal.audit.statistics.paired import (
    holm,
    mcnemar,
    paired_bootstrap,
    paired_intervals,
    t_intervals,
    t_test,
    worst_difference_interval,
)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (3, 9), (7, 7), (40, 22)])
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(lost, gained) == pytest.approx(expected, abs=1e-12)


def test_holm_by_hand() -> None:
    # Sorted: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .9.
    assert holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([[0.03, 0.9], [0.9, 0.01]]) == pytest.approx(np.array([[0.06, 0.9], [0.9, 0.02]]))


def test_the_paired_interval_by_hand() -> None:
    # (g, l, n) = (8, 2, 100): exact bounds of both rates, correlation -(.08 x .02 / (.92 x .98))^(1/2).
    g, l_ = (binomtest(k, 100).proportion_ci(0.95, method="exact") for k in (8, 2))
    r = np.sqrt(0.08 * 0.02 / (0.92 * 0.98))
    down, up = (0.08 - g.low, l_.high - 0.02), (g.high - 0.08, 0.02 - l_.low)
    low, high = paired_intervals(8, 2, 100, 0.95)
    assert low == pytest.approx(0.06 - np.sqrt(down[0] ** 2 + down[1] ** 2 + 2 * r * down[0] * down[1]))
    assert high == pytest.approx(0.06 + np.sqrt(up[0] ** 2 + up[1] ** 2 + 2 * r * up[0] * up[1]))


def test_the_paired_interval_turns_with_its_sides() -> None:
    gained, lost = [8, 0, 50, 3], [2, 0, 50, 97]
    low, high = paired_intervals(gained, lost, 100, 0.9)
    back_low, back_high = paired_intervals(lost, gained, 100, 0.9)
    assert np.allclose([low, high], [-back_high, -back_low])


def test_the_paired_interval_stays_within_its_range_and_has_width_without_disagreement() -> None:
    low, high = paired_intervals([3, 0], [0, 0], [3, 50], 0.99)
    assert high[0] == 1
    assert low[1] < 0 < high[1]


# Floors lie three standard errors of the draws below 0.95.
@pytest.mark.parametrize("cells", [[0.06, 0.02, 0.92], [0.4, 0.4, 0.2], [0.01, 0.0, 0.99], [0.7, 0.1, 0.2]])
def test_the_paired_interval_covers(cells: list[float]) -> None:
    gained, lost, _ = np.random.default_rng(0).multinomial(120, cells, size=4000).T
    low, high = paired_intervals(gained, lost, 120, 0.95)
    target = cells[0] - cells[1]
    assert np.mean((low <= target + 1e-12) & (high >= target - 1e-12)) >= 0.94


def bonett_price(gained: np.ndarray, lost: np.ndarray, n: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Bonett and Price (2012): Wald, with a sample added to each kind of disagreement."""
    difference = (gained - lost) / (n + 2)
    variance = ((gained + lost + 2) / (n + 2) - difference**2) / (n + 2)
    half = norm.isf((1 - level) / 2) * np.sqrt(variance)
    return difference - half, difference + half


def test_corrected_for_all_classes_the_intervals_hold_together_where_a_model_only_gains() -> None:
    """1,000 draws of 100 classes of 100: one that only a standard error supports loses more than one draw in ten."""
    gained, lost, _ = np.moveaxis(np.random.default_rng(0).multinomial(100, [0.1, 0.0, 0.9], size=(1000, 100)), -1, 0)
    share = {}
    for interval in (paired_intervals, bonett_price):
        low, high = interval(gained, lost, 100, 1 - 0.05 / 100)
        share[interval] = ((low <= 0.1) & (high >= 0.1)).all(axis=1).mean()
    assert share[paired_intervals] >= 0.95
    assert share[bonett_price] < 0.9


def test_the_bootstrap_is_seeded_and_close_to_the_normal_limit() -> None:
    found = paired_bootstrap([900], [400], [10_000], 0.95, seed=3)
    assert found == paired_bootstrap([900], [400], [10_000], 0.95, seed=3)
    assert found != paired_bootstrap([900], [400], [10_000], 0.95, seed=4)
    half = 1.959964 * np.sqrt((0.13 - 0.05**2) / 10_000)
    assert found == pytest.approx((0.05 - half, 0.05 + half), abs=0.04 * half)


def test_the_bootstrap_keeps_groups_apart() -> None:
    """The mean over groups of 1,000 and of 9,000 has the half of each one's variance."""
    found = paired_bootstrap([100, 900], [40, 360], [1000, 9000], 0.95)
    half = 1.959964 * np.sqrt((0.14 - 0.06**2) * (1 / 1000 + 1 / 9000) / 4)
    assert found == pytest.approx((0.06 - half, 0.06 + half), abs=0.05 * half)


def test_what_is_added_to_many_groups_does_not_draw_them_to_0() -> None:
    low, high = paired_bootstrap([25] * 100, [0] * 100, [50] * 100, 0.95)
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.001)
    assert high - low < 0.04


def test_models_that_agree_everywhere_are_not_known_to_be_equal() -> None:
    low, high = paired_bootstrap([0], [0], [200], 0.95)
    assert -0.03 < low < 0 < high < 0.03


def test_the_bootstrap_covers_the_mean_over_unequal_classes() -> None:
    n, rates = np.array([12, 60, 200]), np.array([[0.2, 0.1], [0.05, 0.02], [0.03, 0.06]])
    draws = np.random.default_rng(2).multinomial(n, np.column_stack([rates, 1 - rates.sum(axis=1)]), size=(600, 3))
    target = float((rates[:, 0] - rates[:, 1]).mean())
    ends = [paired_bootstrap(row[:, 0], row[:, 1], n, 0.95, resamples=399) for row in draws]
    assert np.mean([low <= target <= high for low, high in ends]) >= 0.923


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_many_classes_are_computed_in_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same intervals, of the bootstrap and of the worst classes, of one draw and of several."""
    draw = np.random.default_rng(0)
    n = draw.integers(1, 9, 7)
    a, b = draw.binomial(n, 0.6, size=(3, 7)), draw.binomial(n, 0.7, size=(3, 7))
    gained, lost = np.maximum(b - a, 0), np.maximum(a - b, 0)

    def found() -> list[np.ndarray]:
        one = worst_difference_interval(a[0], b[0], gained[0], lost[0], n, 0.95)
        several = worst_difference_interval(a, b, gained, lost, n, 0.95)
        return [*one, *several, *paired_bootstrap(gained[0], lost[0], n, 0.95, resamples=40)]

    expected = found()
    monkeypatch.setattr(module, "CHUNK", at_once)
    assert all(np.array_equal(one, other) for one, other in zip(found(), expected, strict=True))


# --- the worst classes -----------------------------------------------------------------------------------------------


def test_the_worst_difference_of_one_class_is_the_paired_one() -> None:
    found = worst_difference_interval([50], [56], [8], [2], [100], 0.95)
    assert found == pytest.approx(paired_intervals(8, 2, 100, 0.95))


def test_the_worst_difference_by_hand() -> None:
    """Two classes, worst under a: the first; under b: either. All eight bounds at 0.05/4, then the two orders."""
    right_a, right_b, gained, lost, n = [20, 70], [50, 52], [35, 2], [5, 20], [100, 100]
    z = norm.isf(0.0125)

    def end(k: int, share: float, side: str) -> float:
        other = {"low": "greater", "high": "less"}[side]
        exact = binomtest(k, 100, alternative=other).proportion_ci(norm.cdf(z * share), method="exact")
        return float(getattr(exact, side))

    low, high = np.empty((2, 2)), np.empty((2, 2))
    for c in (0, 1):
        for k in (0, 1):
            turns = [(np.cos(angle), np.sin(angle)) for angle in np.radians(range(0, 91, 15))]
            low[c, k] = min(end(right_b[c], x, "low") - end(right_a[k], y, "high") for x, y in turns)
            high[c, k] = max(end(right_b[c], x, "high") - end(right_a[k], y, "low") for x, y in turns)
        low[c, c], high[c, c] = paired_intervals(gained[c], lost[c], 100, 1 - 0.025)
    expected = (min(max(low[0]), max(low[1])), max(min(high[:, 0]), min(high[:, 1])))
    assert worst_difference_interval(right_a, right_b, gained, lost, n, 0.95) == pytest.approx(expected)
    assert expected[0] > 0.15  # the repair of the first class is detected, whichever of b's is the worst


def test_between_large_classes_the_distances_are_squared_and_added() -> None:
    """Far below the others under a and b, the first class of a and the second of b; a correlation would show."""
    n = np.array([100_000, 100_000])
    found = worst_difference_interval([20_000, 90_000], [90_000, 30_000], [70_000, 0], [0, 60_000], n, 0.95)
    half = norm.isf(0.0125) * np.sqrt((0.2 * 0.8 + 0.3 * 0.7) / 100_000)
    assert found == pytest.approx((0.1 - half, 0.1 + half), abs=0.02 * half)


def test_many_draws_of_the_worst_difference_at_once_are_as_one_by_one() -> None:
    n = np.array([20, 40, 30])
    cells = np.random.default_rng(1).multinomial(n, [0.4, 0.2, 0.1, 0.3], size=(2, 4, 3))
    both, gained, lost = cells[..., 0], cells[..., 1], cells[..., 2]
    together = worst_difference_interval(both + lost, both + gained, gained, lost, n, 0.95)
    for place in np.ndindex(2, 4):
        counts = [of[place] for of in (both + lost, both + gained, gained, lost)]
        alone = worst_difference_interval(*counts, n, 0.95)
        assert (together.low[place], together.high[place]) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0.5] * 10, [0.5] * 10),  # all tie, on both sides
        ([0.2, *[0.5] * 9], [0.5] * 10),  # a repair makes the classes alike
        ([0.02] * 10, [0.05] * 10),
        ([0.2, 0.8], [0.8, 0.2]),
    ],
)
@pytest.mark.parametrize("same", [0.0, 0.8])
def test_the_difference_of_the_worst_classes_is_covered(a: list[float], b: list[float], same: float) -> None:
    """1,000 draws of 60 samples a class, of which the models share the fate of none or of 80 %."""
    rates_a, rates_b = np.array(a), np.array(b)
    both = same * np.minimum(rates_a, rates_b) + (1 - same) * rates_a * rates_b
    cells = np.stack([both, rates_b - both, rates_a - both, 1 - rates_a - rates_b + both], axis=-1)
    n = np.full(len(a), 60)
    both, gained, lost, _ = np.moveaxis(np.random.default_rng(7).multinomial(n, cells, size=(1000, len(a))), -1, 0)
    low, high = worst_difference_interval(both + lost, both + gained, gained, lost, n, 0.95)
    target = min(b) - min(a)
    assert np.mean((low <= target + 1e-12) & (high >= target - 1e-12)) >= 0.93


def squared_and_added(a: np.ndarray, b: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same with full distances squared and added, for models that share no sample's fate."""
    (a_below, a_above), (b_below, b_above) = (distances(right, n, 0.025 / len(n)) for right in (a, b))
    differences = (b / n)[..., :, None] - (a / n)[..., None, :]
    low = differences - np.hypot(b_below[..., :, None], a_above[..., None, :])
    high = differences + np.hypot(b_above[..., :, None], a_below[..., None, :])
    return low.max(axis=-1).min(axis=-1), high.min(axis=-2).max(axis=-1)


@pytest.mark.medium
def test_a_rare_class_near_0_is_covered() -> None:
    """1,000 draws: 40 classes of 1,000 but the first of 30, 1.5 % under a, all others 45 %."""
    n, a, b = np.array([30] + [1000] * 39), np.array([0.015] + [0.45] * 39), np.full(40, 0.45)
    cells = np.stack([a * b, b - a * b, a - a * b, 1 - a - b + a * b], axis=-1)
    both, gained, lost, _ = np.moveaxis(np.random.default_rng(3).multinomial(n, cells, size=(1000, 40)), -1, 0)
    found = worst_difference_interval(both + lost, both + gained, gained, lost, n, 0.95)
    share = [
        np.mean((low <= 0.435) & (high >= 0.435))
        for low, high in (found, squared_and_added(both + lost, both + gained, n))
    ]
    assert share[0] >= 0.95
    assert share[1] < 0.92


# --- runs ------------------------------------------------------------------------------------------------------------


def test_students_interval_and_test_are_scipys() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.random((2, 5, 4)) * 0.5
    expected = ttest_1samp(b - a, 0).confidence_interval(0.9)
    assert np.allclose(t_intervals(b - a, 0.9), (expected.low, expected.high))
    assert np.allclose(t_test(b - a), ttest_rel(b, a).pvalue)


def test_students_interval_stays_within_differences_of_accuracies() -> None:
    assert np.allclose(t_intervals([0.0, 0.6], 0.99), (-1, 1))


def test_runs_that_agree_to_the_sample_are_not_without_chance() -> None:
    differences = np.array([[0.25, 0.0], [0.25, 0.0], [0.25, 0.0]])
    assert np.allclose(t_intervals(differences, 0.95), ([0.25, 0], [0.25, 0]))
    assert t_test(differences).tolist() == [0, 1]
    # In steps of one of 20 samples the spread is half a step: t(2 degrees) = 4.30265.
    half = 4.30265 * 0.025 / np.sqrt(3)
    assert np.allclose(
        t_intervals(differences, 0.95, step=0.05), ([0.25 - half, -half], [0.25 + half, half]), atol=1e-6
    )
    half_a_step = np.array([0.2, 0.25, 0.3])  # spread 0.05, above half a step
    assert np.allclose(t_intervals(half_a_step, 0.95, step=0.05), t_intervals(half_a_step, 0.95))
    assert t_test(differences, step=0.05)[0] == pytest.approx(2 * t.sf(0.25 / (0.025 / np.sqrt(3)), 2))


def test_rare_successes_over_few_runs_are_covered() -> None:
    """1 % against 2 % of 20 samples: none is right in most runs. 2,000 draws of 3 pairs of runs."""
    generator = np.random.default_rng(5)
    before, after = (generator.binomial(20, rate, size=(3, 2000)) for rate in (0.01, 0.02))
    share = []
    for step in (0.0, 1 / 20):
        low, high = t_intervals((after - before) / 20, 0.95, step=step)
        share.append(np.mean((low <= 0.01) & (high >= 0.01)))
    assert share[0] < 0.9
    assert share[1] >= 0.935
