import numpy as np
import pytest
from scipy.stats import binomtest

from faal.audit.intervals import mean_interval, worst_class_interval
from faal.audit.summary import confusion_matrix, summarise


def test_confusion_counts_true_by_predicted() -> None:
    label, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 2, 1, 0, 2, 2], dtype=np.int16)
    assert confusion_matrix(label, predicted, 4).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]


def test_a_thousand_classes_do_not_overflow_int16() -> None:
    label = np.array([999, 998])
    assert confusion_matrix(label, label.astype(np.int16), 1000)[999, 999] == 1


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
    assert (found.balanced.low, found.balanced.high) == mean_interval([1, 1, 2], [2, 4, 2], 0.9)
    assert (found.worst.name, found.worst.value) == ("cat", 0.25)
    assert (found.worst.low, found.worst.high) == worst_class_interval([1, 1, 2], [2, 4, 2], 0.9)
    cat, eel = found.classes[1], found.classes[2]
    exact = binomtest(1, 4).proportion_ci(0.9, method="exact")
    assert (cat.name, cat.n, cat.correct, cat.value) == ("cat", 4, 1, 0.25)
    assert (cat.low, cat.high) == pytest.approx((exact.low, exact.high))
    assert (eel.n, eel.correct, eel.value, eel.low, eel.high) == (0, 0, None, 0, 1)
    assert found.confusion == ((1, 1, 0, 0), (2, 1, 0, 1), (0, 0, 0, 0), (0, 0, 0, 2))
    assert (found.parameters, found.seconds) == ({"steps": 3}, 1.5)
