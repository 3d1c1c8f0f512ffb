"""The docs' figures are the benchmarks' files, and the benchmarks' arithmetic is right."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_results_page_is_made_from_the_files() -> None:
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == script("tables").page()


def test_the_performance_page_is_made_from_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
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


def test_the_page_names_what_each_quirk_was_compared_with() -> None:
    arms = script("quirks").ARMS
    assert {name: arm.control for name, arm in arms.items() if arm.control} == script("tables").CONTROLS
