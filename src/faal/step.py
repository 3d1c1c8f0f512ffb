"""One training step: Algorithm 1 of the FAAL paper, for every method.

min over weights, max over class distributions, max over perturbations:

    phase 1  inner          x_adv    find adversarial examples
    phase 2  intermediate   w        find the worst class distribution
    phase 3  outer          theta    minimise the reweighted loss
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from faal.config import Recipe
from faal.data import Batch
from faal.engine import gradients, processes, seeds
from faal.engine.graphs import Runner
from faal.engine.numerics import Numerics
from faal.inner.boundary import crossing
from faal.inner.norms import Budget
from faal.inner.pgd import AttackSettings, pgd
from faal.intermediate.class_rule import ClassRule, TermWeights
from faal.intermediate.class_stats import batch_stats
from faal.methods import Adversary, Method
from faal.outer import awp


@dataclass(kw_only=True)
class Learner:
    """The state and the settings of a step: the network, the optimiser, the class rule and the recipe."""

    net: nn.Module
    """The network itself, not wrapped; its weights are perturbed."""
    forward: nn.Module
    """`net`, or `net` compiled; attacked."""
    parallel: gradients.Views
    """`engine.gradients.parallel(forward)`; trained."""
    run: Runner
    """Runs the attack: directly, or as a CUDA graph."""
    optimizer: torch.optim.Optimizer
    rule: ClassRule
    method: Method
    recipe: Recipe
    num_groups: int
    """C of the class rule: the number of classes, unless the data has a grouping."""
    seed: int
    numerics: Numerics


class StepContext(NamedTuple):
    """The position of a step in the run, and its weight among the processes."""

    epoch: int
    """The epoch, from 0."""
    progress: float
    """The completed fraction of the run at the start of the epoch, in [0, 1)."""
    share: float = 1.0
    """This process's samples as a multiple of the mean over processes; 1 except in uneven last batches."""
    step: int = 0
    """The number of the step in the run, from 0."""


class StepResult(NamedTuple):
    """Metrics of a step, on the device: reading them synchronises the host, so the log reads those of several steps
    together."""

    loss: Tensor
    """scalar, the weighted loss of this process's part of the batch; its mean over the processes is the batch's."""
    weights: Tensor
    """(C,) weights of the robust term; 0 for classes without a statistic."""
    accuracy: Tensor
    """scalar, accuracy on the last view, adversarial or clean, that phase 3 trains on."""
    clean_weights: Tensor | None = None
    """(C,) weights of the clean term; None where the objective has none."""
    sampling: Tensor | None = None
    """(C,) probabilities of the batch's classes, where the rule samples them."""


def train_step(learner: Learner, batch: Batch, context: StepContext) -> StepResult:
    """One step on one batch; changes the network, the optimiser and the rule's state.

    Args:
        learner: the network and all settings.
        batch: this process's part of the batch, on the device.
        context: epoch, progress and step number.

    Returns:
        Loss, class weights and accuracy, on the device, without synchronisation.
    """
    # Phase 1, inner maximisation (lines 3 to 8).
    views = find_adversarial(learner, batch, context)

    with perturbed_weights(learner, batch, views, context):
        logits_of_views = forward_views(learner, learner.parallel, views)
        terms = learner.method.objective.terms(logits_of_views, batch.labels, learner.recipe.beta)
        logits = logits_of_views[-1]  # of x_adv, or of the images where there is no adversary

        # Phase 2, intermediate maximisation (lines 9 to 13).
        sampling = learner.rule.sampling() if learner.rule.sampling is not None else None
        weights = find_worst_distribution(learner, logits.detach(), batch)

        # Phase 3, outer minimisation (lines 14 and 15).
        loss = weights.reduce(
            terms.clean, terms.robust, batch.groups, penalty=terms.penalty, predicted=logits.argmax(dim=1)
        )
        if learner.recipe.extra_clean_forward:
            update_clean_statistics(learner, batch.images)
        learner.optimizer.zero_grad(set_to_none=True)
        (loss * context.share).backward()
        learner.parallel.finish()
        learner.optimizer.step()
    # BatchNorm's statistics are those of each process's own samples; the next attack needs the same network on all
    # processes.
    processes.broadcast(learner.net.buffers())

    accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
    return StepResult(
        loss.detach() * context.share,
        weights.robust,
        accuracy * context.share,
        clean_weights=None if terms.clean is None else weights.clean,
        sampling=sampling,
    )


class BatchViews(NamedTuple):
    """The views of a batch that phases 2 and 3 use, (B, channels, H, W) each."""

    clean: Tensor
    """The images."""
    friendly: Tensor
    """For BAT the last points on the attack's path that are predicted correctly, else the images themselves."""
    adversarial: Tensor
    """x_adv; the images themselves for a method without an adversary."""


def find_adversarial(learner: Learner, batch: Batch, context: StepContext) -> BatchViews:
    """Phase 1: x_adv."""
    adversary, recipe = learner.method.adversary, learner.recipe
    if adversary is None:
        return BatchViews(batch.images, batch.images, batch.images)
    attack = attack_settings(adversary, recipe, context.step)
    budget = learner.rule.budget()
    draw = seeds.normal if attack.start == "gaussian" else seeds.uniform
    numbers = batch.images[0].numel()
    noise = draw(batch.key, numbers, seed=learner.seed, epoch=context.epoch, stream=seeds.Stream.START)

    def search(
        images: Tensor, labels: Tensor, noise: Tensor, epsilon: Budget, step_size: Budget, attack: AttackSettings
    ) -> tuple[Tensor, ...]:  # a CUDA graph is recorded for each attack
        net = learner.forward
        with learner.numerics.autocast():
            if adversary.friendly:
                return crossing(net, images, labels, attack, epsilon=epsilon, step_size=step_size, noise=noise)
            return (pgd(net, images, labels, attack, epsilon=epsilon, step_size=step_size, noise=noise),)

    epsilon = _scaled(recipe.epsilon, budget.epsilon, batch.groups)
    step_size = _scaled(recipe.step_size, budget.step_size, batch.groups)
    *friendly, x_adv = learner.run(
        search, batch.images, batch.labels, noise.view_as(batch.images), epsilon, step_size, attack
    )
    return BatchViews(batch.images, friendly[0] if friendly else batch.images, x_adv)


def attack_settings(adversary: Adversary, recipe: Recipe, step: int) -> AttackSettings:
    """The attack of one step of the run, counted from 0: the method's own loss and start, unless the recipe sets
    others."""
    loss, start = recipe.attack_loss, recipe.attack_start
    if loss == "alternate":
        loss = "cw" if step % 2 else "own"
    return AttackSettings(
        steps=recipe.steps,
        loss=adversary.loss if loss == "own" else loss,
        start=adversary.start if start == "own" else start,
        norm=recipe.norm,
        training=recipe.attack_mode == "train",
    )


def _scaled(value: float, factors: Tensor | None, groups: Tensor) -> Budget:
    return value if factors is None else value * factors[groups]


def find_worst_distribution(learner: Learner, logits: Tensor, batch: Batch) -> TermWeights:
    """Phase 2: the weights of the classes (or groups), from the logits (B, C) of the adversarial examples."""
    return learner.rule.weigh(batch_stats(logits, batch.labels, batch.groups, learner.num_groups, learner.rule.needs))


def forward_views(learner: Learner, net: nn.Module, views: BatchViews) -> tuple[Tensor, ...]:
    """The logits of the views that the objective uses, one training-mode forward for each."""
    objective = learner.method.objective
    used = (objective.clean, objective.friendly, objective.adversarial)
    with learner.numerics.autocast():
        logits: tuple[Tensor, ...] = net(*(images for images, is_used in zip(views, used, strict=True) if is_used))
    return logits


@torch.no_grad()
def update_clean_statistics(learner: Learner, images: Tensor) -> None:
    """One forward that updates BatchNorm's running statistics with the clean images, and has no other effect."""
    with learner.numerics.autocast():
        learner.net(images.clone())


def perturbed_weights(
    learner: Learner, batch: Batch, views: BatchViews, context: StepContext
) -> AbstractContextManager[None]:
    """AWP: the context in which phases 2 and 3 run; the ascent loss is the unweighted base loss (Wu et al.)."""

    def ascent_loss() -> Tensor:
        logits = forward_views(learner, gradients.Views(learner.forward), views)
        terms = learner.method.objective.terms(logits, batch.labels, learner.recipe.beta)
        used = [term for term in terms if term is not None]
        return context.share * torch.stack(used).sum(dim=0).mean()

    gamma = learner.recipe.awp_gamma.at(context.progress) if learner.method.awp else 0.0
    return awp.perturbed(learner.net, ascent_loss, gamma)
