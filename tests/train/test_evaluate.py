"""Evaluations: class-wise figures of networks for which they are known."""

import pytest
import torch
from tests.conftest import toy_split

from faal import losses
from faal.config import Threat
from faal.data import InMemory, Split
from faal.engine.numerics import Numerics
from faal.intermediate.class_rule import EvaluationRequest
from faal.models import Architecture, build_model
from faal.train.evaluate import evaluate

CPU = Numerics.choose("float32", torch.device("cpu"))
CW = EvaluationRequest(part="steer", loss="cw", steps=10)


class Brightness(torch.nn.Module):
    """Class 1 if the mean exceeds a half: an attack within epsilon turns exactly those within epsilon of a half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1) * 10


MEANS = torch.tensor([0.1, 0.45, 0.3, 0.55, 0.9, 0.62, 0.4])
SPLIT = Split(InMemory(MEANS[:, None, None, None].expand(-1, 1, 8, 8).clone()), torch.tensor([0, 0, 0, 1, 1, 1, 1]))


def evaluated(request: EvaluationRequest, **other: object) -> object:
    arguments = {"num_classes": 2, "threat": Threat(epsilon=0.099), "seed": 1, "numerics": CPU} | other
    return evaluate(Brightness(), SPLIT, request, **arguments)


def test_errors_of_a_network_whose_margin_is_known() -> None:
    found = evaluated(CW)
    assert found.counts.tolist() == [3, 4]
    assert found.clean_error.tolist() == pytest.approx([0, 1 / 4])
    assert found.robust_error.tolist() == pytest.approx([1 / 3, 2 / 4])
    assert float(found.overall(found.robust_error)) == pytest.approx(3 / 7)
    # By prediction and class: one of class 0 is taken for 1, two of class 1 (one without an attack) for 0.
    assert found.confusion.tolist() == [[2, 2], [1, 2]]


def test_logits_that_are_not_finite_are_wrong() -> None:
    """Its argmax is class 0, which would make a dead network correct on all of that class."""

    class Dead(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(1, 2, 3))[:, None] * torch.tensor([float("nan"), 1.0])

    found = evaluate(Dead(), SPLIT, CW, num_classes=2, threat=Threat(epsilon=0.099), seed=1, numerics=CPU)
    assert found.clean_error.tolist() == found.robust_error.tolist() == [1, 1]


def test_cross_entropy_and_divergence() -> None:
    """The divergence's attack runs to the end of the ball: the mean moves by epsilon, to the side of the larger one."""
    found = evaluated(EvaluationRequest(part="steer", loss="kl", start="gaussian", steps=10))
    logits = Brightness()(SPLIT.images.fetch(torch.arange(7)))
    expected = losses.cross_entropy(logits, SPLIT.labels)
    assert found.cross_entropy.tolist() == pytest.approx([expected[:3].mean().item(), expected[3:].mean().item()])
    moved = [torch.stack([(0.5 - MEANS - step) * 10, (MEANS + step - 0.5) * 10], dim=1) for step in (-0.099, 0.099)]
    most = torch.stack([losses.kl_divergence(logits, other) for other in moved]).amax(dim=0)
    # The start decides the direction, so that a sample may end on the side with the smaller one.
    assert (found.kl_divergence <= torch.stack([most[:3].mean(), most[3:].mean()]) + 1e-4).all()
    assert (found.kl_divergence > 0.1 * torch.stack([most[:3].mean(), most[3:].mean()])).all()


def test_shrinking_the_true_logit_turns_close_predictions() -> None:
    """With the logits z and -z, subtracting thrice its size from the true one leaves no image correct."""
    nothing = EvaluationRequest(part="train", loss="ce", steps=0)
    plain, shrunk = (
        evaluated(nothing, threat=Threat(epsilon=1e-6)),
        evaluated(EvaluationRequest(part="train", loss="ce", steps=0, shrink=3.0), threat=Threat(epsilon=1e-6)),
    )
    assert plain.confusion.tolist() == [[3, 1], [0, 3]]
    assert shrunk.confusion.tolist() == [[0, 4], [3, 0]]


@pytest.mark.medium
def test_independent_of_the_batch_and_restores_the_mode() -> None:
    net = build_model(Architecture(model="small", num_classes=3, channels=1, width=4), seed=1).train()
    arguments = {"num_classes": 3, "threat": Threat(epsilon=0.1), "seed": 1, "numerics": CPU}
    found = [evaluate(net, toy_split([20, 20, 20]), CW, batch_size=size, **arguments) for size in (60, 7)]
    assert torch.equal(found[0].robust_error, found[1].robust_error)
    torch.testing.assert_close(found[0].cross_entropy, found[1].cross_entropy)
    assert net.training
