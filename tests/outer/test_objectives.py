"""The objectives' per-sample terms against the papers' formulas in NumPy, and where their gradients flow."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from faal.outer.objectives import ADVERSARIAL_TRAINING, MART, STANDARD, TRADES, Objective

LABELS = torch.tensor([0, 1, 2, 3, 0, 2, 1])
Y = (np.arange(7), LABELS.numpy())
BETA = 5.0


def logits(seed: int) -> Tensor:
    return 2 * torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def probabilities(z: Tensor) -> NDArray[np.float64]:
    e = np.exp(z.detach().numpy())
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def test_standard_and_adversarial_training() -> None:
    clean, robust = logits(0), logits(1)
    terms = STANDARD.terms(clean, robust, LABELS, BETA)
    np.testing.assert_allclose(terms.clean, -np.log(probabilities(clean)[Y]))
    assert terms.robust is None
    terms = ADVERSARIAL_TRAINING.terms(clean, robust, LABELS, BETA)
    np.testing.assert_allclose(terms.robust, -np.log(probabilities(robust)[Y]))
    assert terms.clean is None


def test_trades() -> None:
    """CE(f(x), y) + beta KL(p(x) || p(x_adv))."""
    clean, robust = logits(2), logits(3)
    p, q = probabilities(clean), probabilities(robust)
    terms = TRADES.terms(clean, robust, LABELS, BETA)
    np.testing.assert_allclose(terms.clean, -np.log(p[Y]))
    np.testing.assert_allclose(terms.robust, BETA * np.sum(p * np.log(p / q), axis=1))


def test_mart() -> None:
    """BCE = CE(adv) - log(1.0001 - max_{k != y} q_k + 1e-12), plus lambda KL(p || q) (1.0000001 - p_y)."""
    clean, robust = logits(4), logits(5)
    p, q = probabilities(clean), probabilities(robust)
    runner_up = np.array([max(np.delete(row, y)) for row, y in zip(q, LABELS.numpy(), strict=True)])
    boosted = -np.log(q[Y]) - np.log(1.0001 - runner_up + 1e-12)
    weighted = np.sum(p * np.log(p / q), axis=1) * (1.0000001 - p[Y])
    terms = MART.terms(clean, robust, LABELS, BETA)
    np.testing.assert_allclose(terms.robust, boosted + BETA * weighted)
    assert terms.clean is None


@pytest.mark.parametrize("objective", [STANDARD, ADVERSARIAL_TRAINING, TRADES, MART])
def test_gradients_flow_through_every_view_that_is_seen(objective: Objective) -> None:
    """Checked against finite differences; TRADES and MART do not hold the clean answer fixed."""
    clean, robust = logits(6).requires_grad_(), logits(7).requires_grad_()

    def total(clean: Tensor, robust: Tensor) -> Tensor:
        terms = [term for term in objective.terms(clean, robust, LABELS, BETA) if term is not None]
        return torch.stack(terms).sum(dim=0)

    assert torch.autograd.gradcheck(total, (clean, robust))
    gradients = torch.autograd.grad(total(clean, robust).sum(), (clean, robust), allow_unused=True)
    assert [gradient is not None for gradient in gradients] == [objective.clean, objective.adversarial]


@pytest.mark.parametrize("objective", [STANDARD, ADVERSARIAL_TRAINING, TRADES, MART])
def test_terms_of_certain_answers_are_finite(objective: Objective) -> None:
    """In float32, right and wrong for certain: every probability is 0 or 1."""
    sure = 200 * torch.eye(4)[[0, 1, 2, 3, 0, 2, 1]]
    wrong = 200 * torch.eye(4)[[1, 2, 3, 0, 1, 3, 2]]
    for clean, robust in ((sure, sure), (sure, wrong), (wrong, sure), (wrong, wrong)):
        clean, robust = clean.clone().requires_grad_(), robust.clone().requires_grad_()
        terms = [term for term in objective.terms(clean, robust, LABELS, 6.0) if term is not None]
        loss = torch.stack(terms).sum()
        loss.backward()
        assert bool(torch.isfinite(loss))
        assert all(bool(torch.isfinite(z.grad).all()) for z in (clean, robust) if z.grad is not None)


def test_terms_of_lower_precision_are_single() -> None:
    clean, robust = logits(8).bfloat16(), logits(9).bfloat16()
    for objective in (STANDARD, ADVERSARIAL_TRAINING, TRADES, MART):
        for low, single in zip(
            objective.terms(clean, robust, LABELS, 6.0),
            objective.terms(clean.float(), robust.float(), LABELS, 6.0),
            strict=True,
        ):
            assert low is None or (low.dtype == torch.float32 and torch.equal(low, single))
