"""The docs' figures are the benchmarks' files, and the benchmarks' arithmetic is right."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.benches import script

ROOT = Path(__file__).parents[1]


def test_the_results_page_is_made_from_the_files() -> None:
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == script("tables").page()


def test_the_performance_page_is_made_from_the_files() -> None:
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == script("performance").page()


def test_paired_interval_is_students() -> None:
    before, after = [0.2, 0.3, 0.25, 0.4], [0.3, 0.35, 0.4, 0.45]
    found = script("digits").paired(before, after)
    theirs = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(np.mean(np.subtract(after, before)))
    assert (found["low"], found["high"]) == pytest.approx((theirs.low, theirs.high))


def test_the_smallest_difference_is_found_four_times_in_five() -> None:
    """Against the power of a paired t test from the noncentral t distribution, at the spread that was seen."""
    rng, n = np.random.default_rng(0), 5
    before, after = rng.normal(0.2, 0.02, n), rng.normal(0.25, 0.02, n)
    rows = [[{"attacks": {"all": {"worst": value}}} for value in values] for values in (before, after)]
    found = script("quirks").compared(*rows, "all", "worst")
    theirs = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((theirs.low, theirs.high))
    error = (after - before).std(ddof=1) / np.sqrt(n)
    power = stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, found["detectable"] / error)
    assert power == pytest.approx(0.8, abs=0.03)


def test_repairs_are_paired_by_seed(tmp_path: Path) -> None:
    """Of the seeds that an arm has in common with the control; audits of other images are refused."""
    repairs = script("repairs")
    worst = {"control-1": 0.1, "control-2": 0.2, "faal-1": 0.3, "faal-2": 0.3, "faal-3": 0.9, "plus-10": 0.4}
    for name, value in worst.items():
        (tmp_path / name).mkdir()
        figure = {"average": {"value": 0.5}, "worst": {"class": "cat", "value": value}}
        told = {"data": {"n": 40, "fingerprint": "f"}, "engine": "fast", "environment": {"command": "x", "commit": "c"},
                "attacks": dict.fromkeys(("clean", "pgd20", "cw20", "all"), figure)}  # fmt: skip
        (tmp_path / name / "audit.json").write_text(json.dumps(told))
    result = repairs.collected(tmp_path)
    assert [row["seed"] for row in result["arms"]["faal"]["seeds"]] == [1, 2, 3]
    theirs = stats.ttest_rel([0.3, 0.3], [0.1, 0.2]).confidence_interval(0.95)
    expected = f"worst class +15.0 ({100 * theirs.low:+.1f} to {100 * theirs.high:+.1f}), 2 seeds"
    assert repairs.differences(result["arms"], "faal").endswith(expected)
    assert repairs.differences(result["arms"], "plus") == ""
    assert any(line.endswith("| 3 | 50.0 (50.0) | 50.0 (50.0) | 50.0 (50.0) | 50.0 (50.0) |")
               for line in repairs.section(result, "made"))  # fmt: skip
    (tmp_path / "faal-3" / "audit.json").write_text(json.dumps(told | {"data": {"n": 41, "fingerprint": "g"}}))
    with pytest.raises(SystemExit, match="different images"):
        repairs.collected(tmp_path)


def test_the_page_names_what_each_quirk_was_compared_with() -> None:
    arms = script("quirks").ARMS
    assert {name: arm.control for name, arm in arms.items() if arm.control} == script("tables").CONTROLS
