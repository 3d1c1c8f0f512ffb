"""The per-sample losses against SciPy's formulas in float64, their dtypes and their gradients."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor

from faal import losses

LABELS = torch.tensor([0, 3, 1, 2, 3, 0])


def logits(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(6, 4, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_cross_entropy() -> None:
    z = logits(0)
    expected = -log_softmax(z.numpy(), axis=1)[np.arange(6), LABELS.numpy()]
    np.testing.assert_allclose(losses.cross_entropy(z, LABELS).numpy(), expected, rtol=1e-12)


def test_kl_divergence() -> None:
    clean, robust = logits(1), logits(2)
    expected = rel_entr(softmax(clean.numpy(), axis=1), softmax(robust.numpy(), axis=1)).sum(axis=1)
    np.testing.assert_allclose(losses.kl_divergence(clean, robust).numpy(), expected, rtol=1e-10)
    assert torch.equal(losses.kl_divergence(clean, clean), torch.zeros(6, dtype=torch.float64))


def test_kl_divergence_of_answers_that_are_certain() -> None:
    """In log space: probabilities of exactly 0 would make it NaN."""
    clean = torch.tensor([[200.0, 0.0, 0.0], [0.0, 0.0, 500.0]], requires_grad=True)
    robust = torch.tensor([[0.0, 200.0, 0.0], [0.0, 0.0, 500.0]], requires_grad=True)
    value = losses.kl_divergence(clean, robust)
    torch.testing.assert_close(value, torch.tensor([200.0, 0.0]))
    gradients = torch.autograd.grad(value.sum(), (clean, robust))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_kl_divergence_has_gradients_through_both() -> None:
    clean, robust = logits(3).requires_grad_(), logits(4).requires_grad_()
    assert torch.autograd.gradcheck(losses.kl_divergence, (clean, robust))


def test_margin() -> None:
    z = logits(5)
    expected = [max(row[j] for j in range(4) if j != y) - row[y] for row, y in zip(z.tolist(), LABELS, strict=True)]
    np.testing.assert_allclose(losses.margin(z, LABELS).numpy(), expected, rtol=1e-12)
    assert torch.equal(losses.margin(z, LABELS) > 0, z.argmax(dim=1) != LABELS)
    assert torch.equal(losses.margin(torch.ones(2, 3), torch.tensor([0, 2])), torch.zeros(2))


def test_margin_pulls_the_runner_up_against_the_label() -> None:
    z = torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.margin(z, torch.tensor([1, 0])).sum(), z)
    assert torch.equal(gradient, torch.tensor([[0.0, -1.0, 1.0], [-1.0, 1.0, 0.0]]))


def test_probability_margin() -> None:
    z = logits(6)
    p = softmax(z.numpy(), axis=1)
    expected = [max(np.delete(row, y)) - row[y] for row, y in zip(p, LABELS.numpy(), strict=True)]
    np.testing.assert_allclose(losses.probability_margin(z, LABELS).numpy(), expected, rtol=1e-12)
    certain = torch.tensor([[900.0, 0.0], [900.0, 0.0]])
    assert torch.equal(losses.probability_margin(certain, torch.tensor([0, 1])), torch.tensor([-1.0, 1.0]))


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_lower_precisions_are_widened_first(given: torch.dtype, returned: torch.dtype) -> None:
    """Not computed in bfloat16 and widened after: the answer is that on the upcast logits, bit for bit."""
    z, other = logits(7).to(given), logits(8).to(given)
    wide, wide_other = z.to(returned), other.to(returned)
    for loss in (losses.cross_entropy, losses.margin, losses.probability_margin):
        assert loss(z, LABELS).dtype == returned
        assert torch.equal(loss(z, LABELS), loss(wide, LABELS))
    assert torch.equal(losses.kl_divergence(z, other), losses.kl_divergence(wide, wide_other))
    assert losses.kl_divergence(z, other).dtype == returned
