import numpy as np
import pytest
from scipy.stats import binomtest

from faal.audit.estimates import summarise
from faal.audit.statistics.dispersion import deviation_interval, gap_interval
from faal.audit.statistics.intervals import lowest_mean_interval, mean_interval, worst_class_interval


def test_figures_by_hand() -> None:
    # dog: 1 of 2; cat: 1 of 4 (worst); eel has none; fox: 2 of 2.
    label = np.array([0, 0, 1, 1, 1, 1, 3, 3])
    predicted = np.array([0, 1, 1, 0, 0, 3, 3, 3], dtype=np.int16)
    found = summarise(
        label, predicted, classes=["dog", "cat", "eel", "fox"], level=0.9, parameters={"steps": 3}, seconds=1.5
    )
    exact = binomtest(4, 8).proportion_ci(0.9, method="exact")
    assert (found.average.value, found.average.low, found.average.high) == pytest.approx((0.5, exact.low, exact.high))
    assert found.balanced.value == pytest.approx((0.5 + 0.25 + 1) / 3)
    assert (found.balanced.low, found.balanced.high) == mean_interval([1, 1, 0, 2], [2, 4, 0, 2], 0.9)
    assert (found.worst.name, found.worst.value) == ("cat", 0.25)
    assert (found.worst.low, found.worst.high) == worst_class_interval([1, 1, 0, 2], [2, 4, 0, 2], 0.9)
    assert found.gap is not None
    assert (found.gap.best, found.gap.worst, found.gap.value) == ("fox", "cat", 0.75)
    assert (found.gap.low, found.gap.high) == gap_interval([1, 1, 0, 2], [2, 4, 0, 2], 0.9)
    assert found.deviation is not None
    # Mean 7/12: the squares of 1/12, 4/12 and 5/12.
    assert found.deviation.value == pytest.approx(np.sqrt((1 + 16 + 25) / 3) / 12)
    assert (found.deviation.low, found.deviation.high) == deviation_interval([1, 1, 0, 2], [2, 4, 0, 2], 0.9)
    assert found.worst_tenth is None
    assert (found.worst.low, found.gap.high) == (0, 1)  # it may be the eel
    cat, eel = found.classes[1], found.classes[2]
    exact = binomtest(1, 4).proportion_ci(0.9, method="exact")
    assert (cat.name, cat.n, cat.correct, cat.value) == ("cat", 4, 1, 0.25)
    assert (cat.low, cat.high) == pytest.approx((exact.low, exact.high))
    assert (eel.n, eel.correct, eel.value, eel.low, eel.high) == (0, 0, None, 0, 1)
    assert found.confusion == ((1, 1, 0, 0), (2, 1, 0, 1), (0, 0, 0, 0), (0, 0, 0, 2))
    assert (found.parameters, found.seconds) == ({"steps": 3}, 1.5)


def test_the_worst_tenth_names_classes_with_samples_and_allows_for_the_others() -> None:
    """23 classes, two of them empty: the three lowest of 21; the low end is that of one, beside the two empty ones."""
    n = np.array([10] * 21 + [0, 0])
    right = np.array([9, 3, 3, 2, 3, *[8] * 16, 0, 0])
    label = np.repeat(np.arange(23), n)
    place = np.concatenate([np.arange(size) for size in n])
    predicted = np.where(place < right[label], label, (label + 1) % 23).astype(np.int16)
    names = [f"c{c}" for c in range(23)]
    found = summarise(label, predicted, classes=names, level=0.95, parameters={}, seconds=1.0).worst_tenth
    assert found is not None
    assert set(found.names) == {"c1", "c2", "c3"}
    assert found.value == pytest.approx(0.8 / 3)
    assert found.low == pytest.approx(lowest_mean_interval(right[:21], n[:21], 1, 0.95).low / 3)
    assert found.high == pytest.approx(lowest_mean_interval(right[:21], n[:21], 3, 0.95).high)


def test_figures_are_plain_numbers() -> None:
    label = np.arange(40) % 20
    found = summarise(
        label, label.astype(np.int16), classes=[str(c) for c in range(20)], level=0.95, parameters={}, seconds=1.0
    )
    for estimate in (found.average, found.balanced, found.worst, found.worst_tenth, found.gap, found.deviation):
        assert estimate is not None
        assert {type(number) for number in (estimate.value, estimate.low, estimate.high)} == {float}
