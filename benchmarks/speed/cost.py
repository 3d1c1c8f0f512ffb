"""The cost of a run, before it is run, in forwards of its network and in floating-point operations.

The unit is one forward of one image. The gradient for an image costs as much again, the gradients for image and weights
twice as much: an attack step is 2, a training view 3. PGD-AT with 10 steps is then 23 an image and epoch, TRADES 27.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import torch

from faal.audit.attacks.autoattack import StandardEnsemble
from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.registry import CLEAN, attack_named
from faal.config import Recipe
from faal.data.splits import SHARE
from faal.engine.numerics import operations
from faal.intermediate.class_rule import EvaluationRequest
from faal.methods import epochs_of_training, method, searches_offsets, steers
from faal.models import Architecture, build_model
from faal.study.frontier import SHARES
from faal.train.evaluate import GATE
from faal.train.offsets import EVALUATIONS
from faal.train.selection import selection_request

STEP, VIEW = 2, 3
"""Forwards of an attack step, and of a view of the batch that is trained on."""

CORRECT, ROBUST = 0.85, 0.5
"""The assumed shares of images that are predicted correctly: clean, and under PGD, about those of a robust network on
CIFAR-10. Attacks run on these alone."""

ITERATIONS, QUERIES = 100, 5000
"""AutoAttack's: of APGD and FAB, and of Square."""


@lru_cache
def forward_operations(architecture: Architecture, size: int) -> float:
    """Additions and multiplications of one forward of one image of `size` x `size`, counted on no data."""
    with torch.device("meta"):
        net = build_model(architecture).eval()
        return operations(net, torch.empty(1, architecture.channels, size, size))


def training_forwards(recipe: Recipe, images: int, num_classes: int) -> float:
    """Forwards of a whole run.

    Args:
        recipe: the run's.
        images: in the training set, of about equal classes.
        num_classes: C.

    Raises:
        InputError: the recipe's method or constants do not exist.
    """
    row = method(recipe.method)
    views = sum((row.objective.clean, row.objective.friendly, row.objective.adversarial))
    step: float = VIEW * views + recipe.extra_clean_forward
    if row.adversary is not None:
        own = row.adversary.loss
        losses = {"own": (own,), "alternate": (own, "cw")}.get(recipe.attack_loss, (recipe.attack_loss,))
        # The KL divergence from the clean prediction needs the clean logits.
        step += STEP * recipe.steps + losses.count("kl") / len(losses) + row.adversary.friendly

    chosen = recipe.select != "last"
    select = recipe.hold_out == "both" or (
        recipe.hold_out == "select" and ((chosen and recipe.select_on != "test") or searches_offsets(recipe))
    )
    steer = recipe.hold_out == "both" or (recipe.hold_out == "select" and steers(recipe))
    part = images / SHARE
    trained = images - part * (select + steer)

    rule = row.make_rule(recipe, torch.full((num_classes,), images // num_classes))
    # The search for offsets: every evaluation, and one forward for the spread of the margins.
    total = (
        part
        * (EVALUATIONS * evaluation_forwards(selection_request(recipe.select_attack)) + 1)
        * searches_offsets(recipe)
    )
    for epoch in range(epochs_of_training(recipe)):
        progress = epoch / recipe.epochs
        ascent = VIEW * views if row.awp and recipe.awp_gamma.at(progress) > 0 else 0
        total += trained * (step + ascent)
        if select and chosen:
            total += part * evaluation_forwards(selection_request(recipe.select_attack))
        if (request := rule.evaluation(epoch)) is not None:
            total += (trained if request.part == "train" else part) * evaluation_forwards(request)
        if recipe.average == "gated" and progress >= recipe.averaging_starts:
            total += part * evaluation_forwards(GATE)
    return total


def evaluation_forwards(request: EvaluationRequest) -> int:
    """Forwards of an evaluation of one image: the attack, then one without it and one under it."""
    return STEP * request.steps + (request.loss == "kl") + 2


def frontier_forwards(recipe: Recipe, images: int) -> float:
    """Forwards of `faal repair --frontier` beyond the repair's: an evaluation of every blend."""
    return len(SHARES) * images / SHARE * evaluation_forwards(selection_request(recipe.select_attack))


def audit_forwards(attacks: str | Iterable[str], images: int, num_classes: int) -> float:
    """Forwards of an audit of a robust network.

    Args:
        attacks: names, or one string with commas between.
        images: so many are judged.
        num_classes: C; AutoAttack has min(9, C - 1) targets.

    Raises:
        InputError: there is no such attack.
    """
    names = re.split(r"[,\s]+", attacks.strip()) if isinstance(attacks, str) else list(attacks)
    total = 1.0  # without attack
    for name in names:
        attack = None if name == CLEAN else attack_named(name)
        if isinstance(attack, GradientAttack):
            total += CORRECT * (STEP * attack.steps * attack.restarts + 1)
        elif isinstance(attack, StandardEnsemble):
            targets = min(9, num_classes - 1)
            # FAB computes the gradient of the difference of two logits, and the logits of the point that it steps to.
            targeted = targets * ITERATIONS * (STEP + STEP + 1)
            total += CORRECT * STEP * ITERATIONS + ROBUST * (targeted + QUERIES)
    return images * total
