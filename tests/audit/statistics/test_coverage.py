"""`benchmarks/simulations/coverage.py` in small, and what its 10,000 draws have to say."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from tests.helpers.benches import BENCHMARKS, script

UNUSED = "not used: "


COVERAGE = script("coverage")
SETTINGS = {setting.name: setting for setting in COVERAGE.settings()}


def intervals(groups: dict[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    return {(group, name): found for group, named in groups.items() for name, found in named.items()}


@pytest.mark.medium
@pytest.mark.parametrize("name", SETTINGS)
def test_the_intervals_hold_in_small(name: str) -> None:
    """250 draws with 10 classes, 100 with 100, seed 0, 199 resamples.

    Coverage of 94 % falls below the floor in one of 100,000 simulations. The intervals that are not used fall below it
    where all classes are alike.
    """
    classes = len(SETTINGS[name].n)
    draws = 250 if classes == 10 else 100
    found = intervals(COVERAGE.simulate(SETTINGS[name], draws=draws, seed=0, resamples=199))
    floor = binom.ppf(1e-5, draws, 0.94) / draws
    for (group, interval), measured in found.items():
        if not interval.startswith(UNUSED):
            assert measured["draws"] == draws, (group, interval)
            assert measured["coverage"] >= floor, (group, interval)
            assert measured["width"] <= measured["bonferroni"] * (1 + 1e-9), (group, interval)
    if "all alike" in name and classes == 100:
        assert all(measured["coverage"] < floor for (_, interval), measured in found.items() if UNUSED in interval)


def test_a_tally_counts_misses_on_either_side() -> None:
    tally = COVERAGE.Tally()
    low, high = np.array([[0.1, 0.1], [0.4, 0.2], [0.2, 0.2]]), np.array([[0.2, 0.4], [0.5, 0.3], [0.4, 0.4]])
    found, wider = COVERAGE.Interval(low, high), COVERAGE.Interval(low - 0.1, high)
    tally.add(found, wider, [0.3, 0.25])
    measured = tally.record()
    assert (measured["coverage"], measured["below"], measured["above"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert measured["bonferroni"] - measured["width"] == pytest.approx(0.1)
    together = COVERAGE.Tally()
    together.add(found, wider, [0.3, 0.25], together=True)
    assert together.record()["coverage"] == pytest.approx(1 / 3)


def test_bonferronis_range_of_the_deviation_is_that_of_a_fine_grid() -> None:
    low, high = np.array([0.1, 0.3, 0.5]), np.array([0.3, 0.6, 0.6])
    corners = np.array(np.meshgrid(*[np.linspace(*ends, 21) for ends in zip(low, high, strict=True)])).reshape(3, -1)
    found = COVERAGE.deviation_range(low, high)
    assert found.high == pytest.approx(corners.std(axis=0).max())
    assert found.low == pytest.approx(corners.std(axis=0).min(), abs=2e-3)


def test_the_full_simulation_holds_what_is_claimed() -> None:
    """At least 94 % everywhere, and no wider on average than Bonferroni's on both sides."""
    result = json.loads((BENCHMARKS / "results" / "coverage.json").read_text(encoding="utf-8"))
    assert result["draws"] == 10_000
    assert list(result["settings"]) == list(SETTINGS)
    for name, groups in result["settings"].items():
        expected = {"average", "balanced", "worst class", "each class", "gap", "standard deviation"}
        assert expected | ({"worst tenth"} if name.startswith("100") else set()) <= set(groups["audit"])
        for place, found in intervals(groups).items():
            if UNUSED not in place[1]:
                assert found["draws"] == 10_000, (name, place)
                assert found["coverage"] >= 0.94, (name, place)
                assert found["width"] <= found["bonferroni"] * (1 + 1e-9), (name, place)
