"""The objectives' per-sample terms against the papers' formulas in NumPy and SciPy, and where their gradients flow."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import rel_entr
from scipy.stats import entropy
from torch import Tensor

from faal.outer.objectives import (
    ADVERSARIAL_TRAINING,
    CONFUSIONAL,
    FRIENDLY,
    MART,
    STANDARD,
    TRADES,
    Objective,
    Terms,
)

ALL = (STANDARD, ADVERSARIAL_TRAINING, TRADES, MART, FRIENDLY, CONFUSIONAL)

LABELS = torch.tensor([0, 1, 2, 3, 0, 2, 1])
Y = (np.arange(7), LABELS.numpy())
BETA = 5.0


def logits(seed: int) -> Tensor:
    return 2 * torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def probabilities(z: Tensor) -> NDArray[np.float64]:
    e = np.exp(z.detach().numpy())
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def terms_of(objective: Objective, views: tuple[Tensor, Tensor, Tensor], beta: float = BETA) -> Terms:
    """Of logits on clean, friendly and adversarial images, those that the objective sees."""
    used = (objective.clean, objective.friendly, objective.adversarial)
    return objective.terms([view for view, is_used in zip(views, used, strict=True) if is_used], LABELS, beta)


def test_standard_and_adversarial_training() -> None:
    clean, robust = logits(0), logits(1)
    terms = STANDARD.terms([clean], LABELS, BETA)
    np.testing.assert_allclose(terms.clean, -np.log(probabilities(clean)[Y]))
    assert terms.robust is None
    terms = ADVERSARIAL_TRAINING.terms([robust], LABELS, BETA)
    np.testing.assert_allclose(terms.robust, -np.log(probabilities(robust)[Y]))
    assert terms.clean is None


def test_trades() -> None:
    """CE(f(x), y) + beta KL(p(x) || p(x_adv))."""
    clean, robust = logits(2), logits(3)
    p, q = probabilities(clean), probabilities(robust)
    terms = TRADES.terms([clean, robust], LABELS, BETA)
    np.testing.assert_allclose(terms.clean, -np.log(p[Y]))
    np.testing.assert_allclose(terms.robust, BETA * np.sum(p * np.log(p / q), axis=1))


def test_mart() -> None:
    """BCE = CE(adv) - log(1.0001 - max_{k != y} q_k + 1e-12), plus lambda KL(p || q) (1.0000001 - p_y)."""
    clean, robust = logits(4), logits(5)
    p, q = probabilities(clean), probabilities(robust)
    runner_up = np.array([max(np.delete(row, y)) for row, y in zip(q, LABELS.numpy(), strict=True)])
    boosted = -np.log(q[Y]) - np.log(1.0001 - runner_up + 1e-12)
    weighted = np.sum(p * np.log(p / q), axis=1) * (1.0000001 - p[Y])
    terms = MART.terms([clean, robust], LABELS, BETA)
    np.testing.assert_allclose(terms.robust, boosted + BETA * weighted)
    assert terms.clean is None


def test_friendly() -> None:
    """CE(x_in) + beta KL(p(x) || p(x_out)) + [log C - H(p(x_in))] + [log C - H(p(x_out))], entropies by SciPy."""
    clean, friendly, robust = logits(10), logits(11), logits(12)
    p, inside, outside = (probabilities(z) for z in (clean, friendly, robust))
    terms = FRIENDLY.terms([clean, friendly, robust], LABELS, BETA)
    np.testing.assert_allclose(terms.clean, -np.log(inside[Y]) + np.log(4) - entropy(inside, axis=1))
    divergence = rel_entr(p, outside).sum(axis=1)
    np.testing.assert_allclose(terms.robust, BETA * divergence + np.log(4) - entropy(outside, axis=1))
    assert terms.penalty is None


def test_even_answers_cost_friendly_nothing_but_their_error() -> None:
    even = torch.full((7, 4), 3.0, dtype=torch.float64)
    terms = FRIENDLY.terms([even, even, even], LABELS, BETA)
    np.testing.assert_allclose(terms.clean, np.log(4))
    np.testing.assert_allclose(terms.robust, 0, atol=1e-12)


def test_confusional() -> None:
    """0.7 CE(x), beta KL(p(x) || p(x_adv)) and, to be weighed by confusion, 0.3 CE(x_adv)."""
    clean, robust = logits(13), logits(14)
    p, q = probabilities(clean), probabilities(robust)
    terms = CONFUSIONAL.terms([clean, robust], LABELS, BETA)
    np.testing.assert_allclose(terms.clean, -0.7 * np.log(p[Y]))
    np.testing.assert_allclose(terms.robust, BETA * rel_entr(p, q).sum(axis=1))
    np.testing.assert_allclose(terms.penalty, -0.3 * np.log(q[Y]))


def total(objective: Objective, clean: Tensor, friendly: Tensor, robust: Tensor) -> Tensor:
    terms = terms_of(objective, (clean, friendly, robust))
    return torch.stack([term for term in terms if term is not None]).sum(dim=0)


@pytest.mark.parametrize("objective", ALL)
def test_gradients_flow_through_every_view_that_is_seen(objective: Objective) -> None:
    """Checked against finite differences; TRADES and what builds on it do not hold the clean prediction fixed."""
    views = tuple(logits(seed).requires_grad_() for seed in (6, 7, 8))
    assert torch.autograd.gradcheck(lambda *views: total(objective, *views), views)
    gradients = torch.autograd.grad(total(objective, *views).sum(), views, allow_unused=True)
    has_gradient = [gradient is not None for gradient in gradients]
    assert has_gradient == [objective.clean, objective.friendly, objective.adversarial]


@pytest.mark.parametrize("objective", ALL)
def test_terms_of_certain_answers_are_finite(objective: Objective) -> None:
    """In float32, right and wrong for certain: every probability is 0 or 1."""
    sure = 200 * torch.eye(4)[[0, 1, 2, 3, 0, 2, 1]]
    wrong = 200 * torch.eye(4)[[1, 2, 3, 0, 1, 3, 2]]
    for clean, robust in ((sure, sure), (sure, wrong), (wrong, sure), (wrong, wrong)):
        views = tuple(view.clone().requires_grad_() for view in (clean, clean, robust))
        loss = total(objective, *views).sum()
        loss.backward()
        assert bool(torch.isfinite(loss))
        assert all(bool(torch.isfinite(z.grad).all()) for z in views if z.grad is not None)


@pytest.mark.parametrize("objective", ALL)
def test_terms_of_lower_precision_are_single(objective: Objective) -> None:
    views = tuple(logits(seed).bfloat16() for seed in (8, 9, 10))
    upcast = tuple(view.float() for view in views)
    for low, single in zip(terms_of(objective, views), terms_of(objective, upcast), strict=True):
        assert low is None or (low.dtype == torch.float32 and torch.equal(low, single))
