import re
from typing import Any

import numpy as np
import pytest

from faal.audit.misuse.settings import epsilon_warnings, selection_warnings, setting_warnings
from faal.config import Threat


def warnings_of(**change: Any) -> list[str]:
    """The warnings on 4 classes of 100 at 60 % clean accuracy, none, with `change`."""
    given: dict[str, Any] = {
        "training": False,
        "probabilities": False,
        "n": np.full(4, 100),
        "clean": 0.6,
        "classes": ["ant", "bee", "cat", "dog"],
        "drawn_from": 400,
        "seed": 3,
    }
    return setting_warnings(**given | change)


def test_no_warning() -> None:
    assert warnings_of() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"training": True}, "in training mode"),
        ({"probabilities": True}, "seem to be probabilities"),
        ({"clean": 0.3}, r"30\.0%, is near chance \(25\.0%\).*normalised"),
        ({"drawn_from": 1000}, "400 of 1000 samples were audited, drawn at random with seed 3"),
        ({"n": np.array([29, 100, 171, 100])}, r"^1 class has fewer than 30 samples.*: ant \(29\)\.$"),
        ({"n": np.array([29, 200, 150, 21])}, r"^2 classes have .*: dog \(21\), ant \(29\)\.$"),
        (
            {"n": np.array([100, 150, 0, 150])},
            r"^1 of 4 classes has no samples \(cat\): .* lower bound of its interval is 0\.$",
        ),
    ],
)
def test_each_warning(change: dict[str, Any], sentence: str) -> None:
    (found,) = warnings_of(**change)
    assert re.search(sentence, found)


def test_of_many_small_classes_five_are_named() -> None:
    (found,) = warnings_of(n=np.full(50, 10), classes=[f"c{c}" for c in range(50)], drawn_from=500)
    assert found.startswith("50 classes have fewer than 30")
    assert found.endswith("c4 (10), ....")


CIFAR = 3 * 32 * 32


@pytest.mark.parametrize(
    ("threat", "sentence"),
    [
        (Threat("linf", 8 / 255), None),
        (Threat("linf", 0.49), None),
        (Threat("linf", 0.5), r"^Epsilon 0\.5 in L-infinity can change every image to uniform grey \(0\.5 is enough\)"),
        (Threat("l2", 0.5), None),
        (Threat("l2", 36 / 255), None),
        (Threat("l2", 8 / 255), r"^Epsilon 8/255 in L2 is tiny.*3072 pixels.*by 0\.14 of 255 levels"),
        (Threat("linf", 0.5 / 255), None),
        (Threat("linf", 8 / 255**2), r"^Epsilon 0\.00012303 in L-infinity is tiny.*by 0\.031 of 255 levels"),
    ],
)
def test_an_epsilon_by_itself(threat: Threat, sentence: str | None) -> None:
    found = epsilon_warnings(threat, CIFAR, {})
    assert len(found) == (sentence is not None)
    assert sentence is None or re.search(sentence, found[0])


def test_in_l2_the_distance_to_grey_grows_with_the_pixels() -> None:
    assert epsilon_warnings(Threat("l2", 4), 64, {})
    assert not epsilon_warnings(Threat("l2", 4), 65, {})


@pytest.mark.parametrize(
    ("epsilon", "trained", "words"),
    [
        (0.3, {"epsilon": 8 / 255, "norm": "linf"}, "9.56 times as much"),
        (0.3, {"epsilon": 8 / 255}, "9.56 times as much"),
        (8 / 255, {"epsilon": 0.3}, "9.56 times as little"),
        (8 / 255, {"epsilon": 1 / 255}, None),
        (1 / 255, {"epsilon": 8 / 255}, None),
        (0.3, {"epsilon": 8 / 255, "norm": "l2"}, None),
        (0.3, {"epsilon": 8 / 255, "method": "standard"}, None),
        (0.3, {}, None),
    ],
)
def test_an_epsilon_and_that_of_the_training(epsilon: float, trained: dict[str, Any], words: str | None) -> None:
    """A robustness curve may go up to eight times either way."""
    found = epsilon_warnings(Threat("linf", epsilon), CIFAR, trained)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_an_epoch_chosen_on_test_images() -> None:
    (found,) = selection_warnings({"select": "sum", "select_on": "test"})
    assert "too high" in found
    assert selection_warnings({"select": "last", "select_on": "test"}) == []
    (found,) = selection_warnings({"select_on": "held-out", "chosen_on_test": True})
    assert found.startswith("The epoch of a base of this network")
    assert selection_warnings({"select_on": "held-out"}) == selection_warnings({}) == []
