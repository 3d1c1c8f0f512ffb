"""The choice of the epoch."""

import pytest
import torch

from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics
from faal.train.selection import RULES, HeldOutAccuracy, selection_request


def test_rules() -> None:
    accuracy = HeldOutAccuracy(average=0.5, worst=0.2, classes=[0.2, 0.8])
    assert [RULES[name](accuracy) for name in ("sum", "average", "worst")] == [0.7, 0.5, 0.2]


def test_accuracy_of_an_evaluation() -> None:
    """The average is over images, the worst over classes."""
    nothing = torch.zeros(2)
    metrics = ClassMetrics(
        counts=torch.tensor([30.0, 10.0]),
        clean_error=nothing,
        robust_error=torch.tensor([0.5, 0.9]),
        cross_entropy=nothing,
        kl_divergence=nothing,
        confusion=torch.zeros(2, 2),
    )
    accuracy = HeldOutAccuracy.of(metrics)
    assert accuracy.average == pytest.approx(0.4)
    assert accuracy.worst == pytest.approx(0.1)
    assert accuracy.classes == pytest.approx([0.5, 0.1])


def test_the_attack_that_chooses() -> None:
    assert selection_request("cw7") == EvaluationRequest(part="steer", loss="cw", steps=7)


def test_an_ensemble_is_no_choice_for_every_epoch() -> None:
    with pytest.raises(InputError, match="select_attack is pgdK or cwK"):
        selection_request("autoattack")
