import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from faal.audit.checks import (
    check_labels,
    check_model,
    check_settings,
    look_like_probabilities,
    remarks,
)
from faal.errors import InputError

GOOD: dict[str, Any] = {"block_size": 250, "batch_size": None, "limit": None, "level": 0.95, "engine": "reference"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_size": 0}, "block_size is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"limit": 0}, "limit is 0"),
        ({"level": 95}, "between 0 and 1"),
        ({"engine": "refrence"}, "did you mean 'reference'"),
    ],
)
def test_settings_out_of_range(change: dict[str, Any], message: str) -> None:
    check_settings(**GOOD)
    with pytest.raises(InputError, match=message):
        check_settings(**GOOD | change)


def test_the_model_is_a_module_in_float32() -> None:
    check_model(nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"needs a torch\.nn\.Module"):
        check_model(lambda images: images)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"weight is bfloat16.*model\.float\(\)"):
        check_model(nn.Linear(2, 2).bfloat16())


def test_labels() -> None:
    labels = torch.tensor([0, 3, 1])
    check_labels(labels, 3, 4)
    check_labels(labels, 3, None)
    with pytest.raises(InputError, match="sample 1 has the label 3, out of range: the 3 classes are 0 to 2"):
        check_labels(labels, 3, 3)
    with pytest.raises(InputError, match="sample 77 has the label 3"):
        check_labels(labels, 3, 3, torch.tensor([5, 77, 80]))
    with pytest.raises(InputError, match=r"sample 0 has the label -1.*numbered from 0"):
        check_labels(labels - 1, 3, None)
    with pytest.raises(InputError, match="5 images and 3 labels"):
        check_labels(labels, 5, 4)
    with pytest.raises(InputError, match="no images"):
        check_labels(labels[:0], 0, 4)


def test_probabilities_are_told_from_logits() -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert look_like_probabilities(logits.softmax(dim=1))
    assert not look_like_probabilities(logits)
    assert not look_like_probabilities(logits.sigmoid())
    assert not look_like_probabilities(logits.log_softmax(dim=1))


def said(**change: Any) -> list[str]:
    """Of 4 classes of 100 at 60 % clean accuracy, nothing is to be said."""
    given: dict[str, Any] = {
        "training": False,
        "probabilities": False,
        "n": np.full(4, 100),
        "clean": 0.6,
        "classes": ["ant", "bee", "cat", "dog"],
        "drawn_from": 400,
        "seed": 3,
    }
    return remarks(**given | change)


def test_nothing_to_remark_on() -> None:
    assert said() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"training": True}, "in training mode"),
        ({"probabilities": True}, "look like probabilities"),
        ({"clean": 0.3}, r"30\.0%, is near chance \(25\.0%\).*normalised"),
        ({"drawn_from": 1000}, "400 of 1000 samples were audited, drawn at random with seed 3"),
        ({"n": np.array([29, 100, 171, 100])}, r"^1 class has fewer than 30 samples.*: ant \(29\)\.$"),
        ({"n": np.array([29, 200, 0, 171])}, r"^2 classes have .*: cat \(0\), ant \(29\)\.$"),
    ],
)
def test_each_remark(change: dict[str, Any], sentence: str) -> None:
    (found,) = said(**change)
    assert re.search(sentence, found)


def test_of_many_small_classes_five_are_named() -> None:
    (found,) = said(n=np.full(50, 10), classes=[f"c{c}" for c in range(50)], drawn_from=500)
    assert found.startswith("50 classes have fewer than 30")
    assert found.endswith("c4 (10), ....")
