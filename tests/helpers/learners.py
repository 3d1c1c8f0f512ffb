"""A learner on toy data, for the tests of the step and of several processes."""

import torch

from faal.config import Recipe
from faal.data import Batches, Split
from faal.engine import processes
from faal.engine.numerics import Numerics
from faal.models import Architecture, build_model
from faal.step import Learner, StepContext, StepResult, train_step
from faal.train.learner import learner_for

CPU = torch.device("cpu")


def make_learner(recipe: Recipe, split: Split, classes: int, *, seed: int = 0) -> Learner:
    """As the training loop makes it; equal arguments give equal weights in every process."""
    architecture = Architecture(
        model=recipe.model, num_classes=classes, channels=split.images.shape[0], width=recipe.width, depth=recipe.depth
    )
    net = build_model(architecture, seed=seed, model=recipe.model)
    numerics = Numerics.choose(recipe.precision, CPU)
    return learner_for(net, recipe, split.counts(classes), seed=seed, numerics=numerics)


def make_batches(recipe: Recipe, split: Split, *, seed: int = 0) -> Batches:
    """This process's batches of the whole split."""
    return Batches(
        split,
        torch.arange(split.n),
        batch_size=recipe.batch_size,
        seed=seed,
        crop=recipe.crop,
        flip=recipe.flip,
        device=CPU,
        rank=processes.rank(),
        world_size=processes.world_size(),
    )


def train_steps(learner: Learner, batches: Batches, steps: int) -> list[StepResult]:
    """The first steps of epoch 0."""
    results = []
    for step, batch in zip(range(steps), batches.epoch(0), strict=False):
        share = processes.world_size() * len(batch.labels) / batches.global_size(step)
        results.append(train_step(learner, batch, StepContext(epoch=0, progress=0.0, share=share)))
    assert len(results) == steps
    return results
