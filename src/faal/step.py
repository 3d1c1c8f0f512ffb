"""One training step: Algorithm 1 of the FAAL paper, for every method. Start reading here.

min over weights, max over class distributions, max over perturbations:

    phase 1  inner          x_adv    find adversarial examples
    phase 2  intermediate   w        find the worst class distribution
    phase 3  outer          theta    move the weights on the reweighted loss
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from faal.config import Recipe
from faal.data import Batch
from faal.engine import processes, seeds
from faal.engine.graphs import Runner
from faal.engine.numerics import Numerics
from faal.inner.boundary import Crossing, crossing
from faal.inner.norms import Budget
from faal.inner.pgd import pgd
from faal.intermediate.class_rule import ClassRule, TermWeights
from faal.intermediate.class_stats import batch_stats
from faal.methods import Adversary, Method
from faal.outer import awp


@dataclass(kw_only=True)
class Learner:
    """What a step works on."""

    net: nn.Module
    """The bare network; its weights are perturbed."""
    forward: nn.Module
    """What answers images in its place: itself, or compiled; attacked."""
    parallel: nn.Module
    """`engine.processes.parallel(forward)`; trained."""
    run: Runner
    """How the attack's work is run: directly, or from a recording on the GPU."""
    optimizer: torch.optim.Optimizer
    rule: ClassRule
    method: Method
    recipe: Recipe
    num_groups: int
    """What class rules tell apart: the classes, unless the data has a grouping."""
    seed: int
    numerics: Numerics


class StepContext(NamedTuple):
    """When a step happens."""

    epoch: int
    """From 0."""
    progress: float
    """The part of the run that was over when the epoch began, in [0, 1)."""
    share: float = 1.0
    """This process's samples as a multiple of the mean over processes; 1 but for uneven last batches."""
    step: int = 0
    """Of the whole run, from 0."""


class StepResult(NamedTuple):
    """What a step leaves behind, on the device: reading it would stop the device, so that is done once in a while."""

    loss: Tensor
    """scalar, the weighted loss of this process's part of the batch; its mean over the processes is the batch's."""
    weights: Tensor
    """(C,) weights of the robust term; 0 for classes not judged."""
    accuracy: Tensor
    """scalar, accuracy on what phase 3 was trained on."""
    clean_weights: Tensor | None = None
    """(C,) weights of the clean term; None where the objective has none."""
    sampling: Tensor | None = None
    """(C,) probabilities of the batch's classes, where the rule draws them."""


def train_step(learner: Learner, batch: Batch, moment: StepContext) -> StepResult:
    """One step on one batch; changes the network, the optimiser and the rule's state."""
    # Phase 1, inner maximisation (lines 3 to 8).
    examples = find_adversarial(learner, batch, moment)

    with perturbed_weights(learner, batch, examples, moment):
        answers = answer(learner, learner.parallel, examples)
        terms = learner.method.objective.terms(answers, batch.labels, learner.recipe.beta)
        logits = answers[-1]  # on x_adv, or on the images where there is no adversary

        # Phase 2, intermediate maximisation (lines 9 to 13).
        sampling = learner.rule.sampling() if learner.rule.sampling is not None else None
        weights = find_worst_distribution(learner, logits.detach(), batch)

        # Phase 3, outer minimisation (lines 14 and 15).
        loss = weights.reduce(
            terms.clean, terms.robust, batch.groups, penalty=terms.penalty, predicted=logits.argmax(dim=1)
        )
        if learner.recipe.extra_clean_forward:
            see_clean(learner, batch.images)
        learner.optimizer.zero_grad(set_to_none=True)
        (loss * moment.share).backward()
        learner.optimizer.step()
    # Each process's BatchNorm saw its own samples; the next attack must find one network everywhere.
    processes.broadcast(learner.net.buffers())

    accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
    return StepResult(
        loss.detach() * moment.share,
        weights.robust,
        accuracy * moment.share,
        clean_weights=None if terms.clean is None else weights.clean,
        sampling=sampling,
    )


class Examples(NamedTuple):
    """What phases 2 and 3 see of a batch, (B, channels, H, W) each."""

    clean: Tensor
    """The images."""
    friendly: Tensor
    """For BAT the last points that are still classified right, else the images themselves."""
    adversarial: Tensor
    """x_adv; the images themselves for a method without an adversary."""


def find_adversarial(learner: Learner, batch: Batch, moment: StepContext) -> Examples:
    """Phase 1: x_adv."""
    adversary, recipe = learner.method.adversary, learner.recipe
    if adversary is None:
        return Examples(batch.images, batch.images, batch.images)
    find, (loss, start) = crossing if adversary.friendly else pgd, attack_of(adversary, recipe, moment.step)
    budget = learner.rule.budget()
    draw = seeds.normal if start == "gaussian" else seeds.uniform
    numbers = batch.images[0].numel()
    noise = draw(batch.key, numbers, seed=learner.seed, epoch=moment.epoch, stream=seeds.Stream.START)

    def search(
        images: Tensor, labels: Tensor, noise: Tensor, epsilon: Budget, step_size: Budget, loss: str
    ) -> tuple[Tensor, ...]:  # what is recorded on a GPU is recorded for each loss
        with learner.numerics.autocast():
            found = find(
                learner.forward,
                images,
                labels,
                epsilon=epsilon,
                step_size=step_size,
                steps=recipe.steps,
                loss=loss,
                start=start,
                norm=recipe.norm,
                noise=noise,
                training=recipe.attack_mode == "train",
            )
        return tuple(found) if isinstance(found, Crossing) else (found,)

    epsilon = _scaled(recipe.epsilon, budget.epsilon, batch.groups)
    step_size = _scaled(recipe.step_size, budget.step_size, batch.groups)
    *before, adversarial = learner.run(
        search, batch.images, batch.labels, noise.view_as(batch.images), epsilon, step_size, loss
    )
    return Examples(batch.images, before[0] if before else batch.images, adversarial)


def attack_of(adversary: Adversary, recipe: Recipe, step: int) -> tuple[str, str]:
    """What the attack of a step of the run maximises, and where it starts: the method's own, unless the recipe says."""
    loss = recipe.attack_loss
    if loss == "alternate":
        loss = "cw" if step % 2 else "own"
    start = recipe.attack_start
    return adversary.loss if loss == "own" else loss, adversary.start if start == "own" else start


def _scaled(value: float, factors: Tensor | None, groups: Tensor) -> Budget:
    return value if factors is None else value * factors[groups]


def find_worst_distribution(learner: Learner, logits: Tensor, batch: Batch) -> TermWeights:
    """Phase 2: the weights of the classes (or groups), from the network's answers on the adversarial examples."""
    return learner.rule.weigh(batch_stats(logits, batch.labels, batch.groups, learner.num_groups, learner.rule.needs))


def answer(learner: Learner, net: nn.Module, examples: Examples) -> tuple[Tensor, ...]:
    """The logits on the views that the objective asks for, one training-mode forward for each."""
    objective = learner.method.objective
    asked = (objective.clean, objective.friendly, objective.adversarial)
    with learner.numerics.autocast():
        logits: tuple[Tensor, ...] = net(*(images for images, wanted in zip(examples, asked, strict=True) if wanted))
    return logits


@torch.no_grad()
def see_clean(learner: Learner, images: Tensor) -> None:
    """One forward that moves BatchNorm's running statistics towards the clean images, and nothing else."""
    with learner.numerics.autocast():
        learner.net(images)


def perturbed_weights(
    learner: Learner, batch: Batch, examples: Examples, moment: StepContext
) -> AbstractContextManager[None]:
    """AWP: the context in which phases 2 and 3 happen; the ascent loss is the unweighted base loss (Wu et al.)."""

    def ascent_loss() -> Tensor:
        answers = answer(learner, processes.Views(learner.forward), examples)
        found = learner.method.objective.terms(answers, batch.labels, learner.recipe.beta)
        terms = [term for term in found if term is not None]
        return moment.share * torch.stack(terms).sum(dim=0).mean()

    gamma = learner.recipe.awp_gamma.at(moment.progress) if learner.method.awp else 0.0
    return awp.perturbed(learner.net, ascent_loss, gamma)
