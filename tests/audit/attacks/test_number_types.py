"""Networks whose logits are of another type than float32: the same attacks, and a note."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faal.audit.run import audit
from faal.errors import InputError

QUICK: dict[str, Any] = {"epsilon": 0.15, "block_size": 16, "engine": "reference"}


class Returns(nn.Module):
    """A network whose logits are converted at the end."""

    def __init__(self, net: nn.Module, to: Any) -> None:
        super().__init__()
        self.net, self.to_type = net, to

    def forward(self, images: Tensor) -> Any:
        logits = self.net(images)
        return self.to_type(logits) if callable(self.to_type) else logits.to(self.to_type)


class Autocast(Returns):
    """As in code that trains in mixed precision."""

    def forward(self, images: Tensor) -> Any:
        with torch.autocast("cpu", dtype=self.to_type):
            return self.net(images)


def about_type(warnings: tuple[str, ...]) -> list[str]:
    return [sentence for sentence in warnings if "logits are" in sentence]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_attacks_on_logits_of_another_type_are_as_strong_as_in_float32(problem: Any, dtype: torch.dtype) -> None:
    plain = audit(problem.net, problem.images, problem.labels, attacks="pgd5x2,cw5", **QUICK)
    other = audit(Returns(problem.net, dtype).eval(), problem.images, problem.labels, attacks="pgd5x2,cw5", **QUICK)
    assert not about_type(plain.warnings)
    (sentence,) = about_type(other.warnings)
    assert str(dtype).removeprefix("torch.") in sentence
    for name, found in plain.attacks.items():
        assert other.attacks[name].average.value == pytest.approx(found.average.value, abs=0.04)
    if dtype == torch.float64:
        assert all(np.array_equal(plain.verdicts.predicted[n], other.verdicts.predicted[n]) for n in plain.attacks)


@pytest.mark.medium
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.usefixtures("_briefly")
def test_autoattack_accepts_them_too(problem: Any, dtype: torch.dtype) -> None:
    images, labels = problem.images[:12], problem.labels[:12]
    settings = {**QUICK, "epsilon": 0.05, "attacks": "autoattack"}
    plain, other = (audit(net.eval(), images, labels, **settings) for net in (problem.net, Returns(problem.net, dtype)))
    assert other.attacks["autoattack"].average.value == pytest.approx(
        plain.attacks["autoattack"].average.value, abs=0.1
    )
    assert about_type(other.warnings)


def test_a_forward_under_autocast_is_attacked(problem: Any) -> None:
    model = Autocast(problem.net, torch.bfloat16).eval()
    result = audit(model, problem.images, problem.labels, attacks="pgd5,cw5", **QUICK)
    assert result.attacks["pgd5"].average.value < result.attacks["clean"].average.value
    (sentence,) = about_type(result.warnings)
    assert "bfloat16" in sentence


def test_ties_caused_by_the_type_are_counted(problem: Any) -> None:
    """From 512 on bfloat16 has steps of 4: near logits become equal."""
    model = Returns(problem.net, lambda logits: (logits + 520).bfloat16()).eval()
    with torch.no_grad():
        best = model(problem.images).float().topk(2, dim=1).values
    ties = int((best[:, 0] == best[:, 1]).sum())
    assert ties > 0
    (sentence,) = about_type(audit(model, problem.images, problem.labels, attacks="clean", **QUICK).warnings)
    assert f"{ties} of {len(problem.labels)} images" in sentence


@pytest.mark.parametrize("to", [torch.complex64, torch.Tensor.to_sparse])
def test_logits_that_are_no_real_dense_numbers_are_refused(problem: Any, to: Any) -> None:
    with pytest.raises(InputError, match=r"logits are (complex64|float32 .sparse_coo.)"):
        audit(Returns(problem.net, to).eval(), problem.images, problem.labels, attacks="clean", **QUICK)


def test_votes_are_audited_as_they_are(problem: Any) -> None:
    """Integers, or booleans, have no gradient, but a clean accuracy."""
    for to in (lambda z: z == z.amax(1, keepdim=True), lambda z: (100 * z).long()):
        model = Returns(problem.net, to).eval()
        result = audit(model, problem.images, problem.labels, attacks="clean", **QUICK)
        assert result.attacks["clean"].average.value > 0.8
        with pytest.raises(InputError, match="has no gradient"):
            audit(model, problem.images, problem.labels, attacks="pgd5", **QUICK)
