"""Recorded accuracies: each follows from counts, is within its interval, and agrees with the verdicts."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from faal.audit.estimates import estimates
from faal.confusion import Confusion
from faal.recorded import check_confusion, check_counts, check_estimates

NAMES = tuple(f"class {c}" for c in range(20))


def recorded(seed: int = 0, level: float = 0.95, smallest: int = 0) -> dict[str, Any]:
    """As a JSON file has it, of 20 classes of different sizes."""
    rng = np.random.default_rng(seed)
    n = rng.integers(smallest, 40, len(NAMES))
    correct = rng.binomial(n, rng.random(len(NAMES)))
    plain: dict[str, Any] = json.loads(json.dumps(estimates(n, correct, NAMES, level=level).to_json()))
    return plain


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("seed", range(10))
def test_what_an_audit_records_is_accepted(seed: int, level: float) -> None:
    check_estimates(recorded(seed, level))


def test_audits_of_an_earlier_version_are_accepted() -> None:
    plain = recorded()
    for name in ("worst_tenth", "gap", "deviation"):
        del plain[name]
    check_estimates(plain)
    check_estimates(plain | {"worst_tenth": None, "gap": None, "deviation": None})


SUMMARIES = ("average", "balanced", "worst", "worst_tenth", "gap", "deviation")


@pytest.mark.parametrize("name", [*SUMMARIES, "class"])
@pytest.mark.parametrize("key", ["value", "low", "high"])
@pytest.mark.parametrize("value", [1.5, -0.5, float("nan"), None, "0.5", [], True])
def test_a_value_that_is_no_fraction_is_refused(name: str, key: str, value: object) -> None:
    plain = recorded(smallest=5)
    entry = plain["classes"][3] if name == "class" else plain[name]
    entry[key] = value
    with pytest.raises((ValueError, TypeError)):
        check_estimates(plain)


@pytest.mark.parametrize("name", [*SUMMARIES, "class"])
def test_a_digit_that_changed_is_noticed(name: str) -> None:
    plain = recorded(smallest=5)
    entry = plain["classes"][3] if name == "class" else plain[name]
    entry["value"] += 1e-4 if entry["value"] + 1e-4 < entry["high"] else -1e-4
    with pytest.raises(ValueError, match="follows from the counts"):
        check_estimates(plain)


@pytest.mark.parametrize("name", [*SUMMARIES, "class"])
@pytest.mark.parametrize("key", ["low", "high"])
def test_a_value_outside_its_interval_is_refused(name: str, key: str) -> None:
    plain = recorded(smallest=5)
    entry = plain["classes"][3] if name == "class" else plain[name]
    entry[key] = entry["value"] + (0.01 if key == "low" else -0.01)
    with pytest.raises(ValueError, match="outside its interval"):
        check_estimates(plain)


@pytest.mark.parametrize("key", ["n", "correct"])
@pytest.mark.parametrize("change", [lambda n: n + 1, lambda n: n - 1, lambda n: -n, lambda n: 0.5, lambda n: "1"])
def test_a_count_that_changed_is_noticed(key: str, change: Callable[[int], object]) -> None:
    plain = recorded(smallest=5)
    plain["classes"][3][key] = change(plain["classes"][3][key])
    with pytest.raises(ValueError, match=r"it has|follows from"):
        check_estimates(plain)


@pytest.mark.parametrize("change", [{"classes": []}, {"classes": 3}, {"average": None}, {"worst": []}])
def test_another_structure_is_an_error_of_its_type(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        check_estimates(recorded() | change)


def test_counts_and_confusion_follow_from_the_verdicts() -> None:
    label = np.repeat(np.arange(3), 4)
    predicted = (label + (np.arange(12) % 4 == 0)) % 3
    confusion = Confusion.of(label, predicted, 3).counts
    counts = estimates(np.full(3, 4), np.full(3, 3), ("a", "b", "c"), level=0.95).classes
    check_counts(counts, label, predicted == label)
    check_confusion(confusion, label, predicted)
    changed = predicted.copy()
    changed[5] = 2
    with pytest.raises(ValueError, match="3 of 4 samples of b are recorded as correct, 2 of 4 by the verdicts"):
        check_counts(counts, label, changed == label)
    with pytest.raises(ValueError, match="the confusion has 3 samples of class 1 that are predicted as 1"):
        check_confusion(confusion, label, changed)
    for other in (label + 1, label - 1):
        with pytest.raises(ValueError, match="other classes"):
            check_counts(counts, other, predicted == label)
    for other in (predicted + 2, predicted - 1):
        with pytest.raises(ValueError):  # noqa: PT011 (SciPy's)
            check_confusion(confusion, label, other)
