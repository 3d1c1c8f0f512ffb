"""Phase 3's objectives, as per-sample clean and robust terms.

An objective defines the views of the batch that are forwarded in training mode, clean before adversarial.
Every such forward updates BatchNorm's running statistics, so their number and order are part of the method.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from faal import losses


class Terms(NamedTuple):
    """(B,) each; None where the objective has no such term."""

    clean: Tensor | None
    robust: Tensor | None
    penalty: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The views that are forwarded, and the losses of their logits."""

    name: str
    """The name in `faal methods`."""
    clean: bool
    """Whether the clean images are forwarded."""
    friendly: bool = False
    """Whether the last points of the attack's path that are predicted correctly are forwarded."""
    adversarial: bool
    """Whether the adversarial images are forwarded."""
    terms: Callable[[Sequence[Tensor], Tensor, float], Terms]
    """(logits (B, C) of the forwarded views, in this order; labels (B,); beta) -> Terms."""


def _standard(views: Sequence[Tensor], labels: Tensor, beta: float) -> Terms:
    (clean,) = views
    return Terms(losses.cross_entropy(clean, labels), None)


def _adversarial_training(views: Sequence[Tensor], labels: Tensor, beta: float) -> Terms:
    (adversarial,) = views
    return Terms(None, losses.cross_entropy(adversarial, labels))


def _trades(views: Sequence[Tensor], labels: Tensor, beta: float) -> Terms:
    clean, adversarial = views
    return Terms(losses.cross_entropy(clean, labels), beta * losses.kl_divergence(clean, adversarial))


def _mart(views: Sequence[Tensor], labels: Tensor, beta: float) -> Terms:
    clean, adversarial = views
    probabilities = F.softmax(losses.upcast(adversarial), dim=1)
    runner_up = probabilities.scatter(1, labels[:, None], 0.0).amax(dim=1)
    boosted = losses.cross_entropy(adversarial, labels) - torch.log(1.0001 - runner_up + 1e-12)
    true_probability = F.softmax(losses.upcast(clean), dim=1).gather(1, labels[:, None]).squeeze(1)
    return Terms(None, boosted + beta * losses.kl_divergence(clean, adversarial) * (1.0000001 - true_probability))


def _friendly(views: Sequence[Tensor], labels: Tensor, beta: float) -> Terms:
    clean, friendly, adversarial = views
    fit, robust = losses.cross_entropy(friendly, labels), beta * losses.kl_divergence(clean, adversarial)
    return Terms(fit + _from_uniform(friendly), robust + _from_uniform(adversarial))


def _from_uniform(logits: Tensor) -> Tensor:
    """KL(p || U) = log C - H(p)."""
    log_p = F.log_softmax(losses.upcast(logits), dim=1)
    return math.log(logits.shape[1]) + (log_p.exp() * log_p).sum(dim=1)


def _confusional(views: Sequence[Tensor], labels: Tensor, beta: float) -> Terms:
    clean, adversarial = views
    fit, robust = losses.cross_entropy(clean, labels), beta * losses.kl_divergence(clean, adversarial)
    return Terms(0.7 * fit, robust, 0.3 * losses.cross_entropy(adversarial, labels))


NOTHING = Objective(name="none, nothing is trained", clean=False, adversarial=False, terms=lambda *_: Terms(None, None))
"""The objective of a method that modifies a trained network without training."""

STANDARD = Objective(name="standard", clean=True, adversarial=False, terms=_standard)
"""CE(f(x), y)."""

ADVERSARIAL_TRAINING = Objective(
    name="adversarial training", clean=False, adversarial=True, terms=_adversarial_training
)
"""CE(f(x_adv), y): Madry et al. 2018."""

TRADES = Objective(name="trades", clean=True, adversarial=True, terms=_trades)
"""CE(f(x), y) + beta KL(p(x) || p(x_adv)): Zhang et al. 2019."""

MART = Objective(name="mart", clean=True, adversarial=True, terms=_mart)
"""BCE(f(x_adv), y) + beta KL(p(x) || p(x_adv)) (1 - p_y(x)): Wang et al. 2020. Gradients flow through every factor."""

FRIENDLY = Objective(name="friendly", clean=True, friendly=True, adversarial=True, terms=_friendly)
"""CE(f(x_in), y) + beta KL(p(x) || p(x_out)) + KL(p(x_in) || U) + KL(p(x_out) || U), where x_in is the last point of
the attack's path that is predicted correctly and x_out is beyond the boundary: BAT, Sun et al. 2022."""

CONFUSIONAL = Objective(name="confusional", clean=True, adversarial=True, terms=_confusional)
"""0.7 CE(f(x), y) + beta KL(p(x) || p(x_adv)) + penalty 0.3 CE(f(x_adv), y), which CSR weights by confusion."""
