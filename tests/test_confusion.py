import json
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from faal import confusion as module
from faal.confusion import Confusion

LABEL, PREDICTED = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 2, 1, 0, 2, 2], dtype=np.int16)
ROWS = ((1, 0, 1, 0), (0, 1, 0, 0), (1, 0, 2, 0), (0, 0, 0, 0))
ENTRIES = {"true": [0, 0, 1, 2, 2], "predicted": [0, 2, 1, 0, 2], "count": [1, 1, 1, 1, 2]}


def test_it_counts_true_by_predicted() -> None:
    found = Confusion.of(LABEL, PREDICTED, 4)
    assert found == ROWS
    assert (len(found), found[2], found[0][2], list(found)) == (4, (1, 0, 2, 0), 1, list(ROWS))
    assert np.array_equal(np.array(found), ROWS)
    assert {type(count) for row in found for count in row} == {int}
    with pytest.raises(IndexError):
        found[4]


def test_equal_counts_are_equal() -> None:
    found = Confusion.of(LABEL, PREDICTED, 4)
    assert found == Confusion.of(LABEL[::-1], PREDICTED[::-1], 4)
    assert found == Confusion(csr_array(np.array(ROWS)))
    for other in (Confusion.of(LABEL, PREDICTED, 5), Confusion.of(LABEL, LABEL, 4), ROWS[:3], ROWS[::-1], None):
        assert found != other


def test_a_thousand_classes_do_not_overflow_int16() -> None:
    label = np.array([999, 998])
    assert Confusion.of(label, label.astype(np.int16), 1000)[999][999] == 1


@pytest.mark.parametrize(("many", "stored"), [(5, [list(row) for row in ROWS]), (4, ENTRIES)], ids=["few", "many"])
def test_of_many_classes_what_is_not_zero_is_stored(many: int, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", many)
    found = Confusion.of(LABEL, PREDICTED, 4)
    assert found.to_json() == stored
    assert Confusion.from_json(json.loads(json.dumps(stored)), 4) == found


def test_the_limit_is_two_hundred_classes() -> None:
    assert isinstance(Confusion.of([0], [1], 199).to_json(), list)
    assert isinstance(Confusion.of([0], [1], 200).to_json(), dict)


def test_without_samples_both_forms_are_empty() -> None:
    for stored in ([[0, 0], [0, 0]], {"true": [], "predicted": [], "count": []}):
        assert Confusion.from_json(stored, 2) == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    "plain",
    [
        None, 3, "text", [], [[1]], [[1, 0], [0]], [[1, 0, 0], [0, 1, 0]], [[1.5, 0], [0, 1]], [[-1, 0], [0, 1]],
        [[float("nan"), 0], [0, 1]], [["1", 0], [0, 1]], [[[1], 0], [0, 1]], [None, None], [[10**30, 0], [0, 1]], {},
        {"true": [0], "predicted": [0]}, {"true": [0, 1], "predicted": [0], "count": [1]},
        {"true": [2], "predicted": [0], "count": [1]}, {"true": [-1], "predicted": [0], "count": [1]},
        {"true": [0], "predicted": [2], "count": [1]}, {"true": [0], "predicted": [0], "count": [-1]},
        {"true": [0.0], "predicted": [0], "count": [1]}, {"true": [10**12], "predicted": [0], "count": [1]},
        {"true": 0, "predicted": 0, "count": 1}, {"true": None, "predicted": [0], "count": [1]},
        {"true": [[0]], "predicted": [[0]], "count": [[1]]},
    ],
)  # fmt: skip
def test_what_is_neither_form_is_refused(plain: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Confusion.from_json(plain, 2)
