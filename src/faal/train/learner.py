"""What a recipe makes of a network: the learner that the steps work on."""

import torch
from torch import Tensor, nn

from faal.config import Recipe
from faal.engine import processes
from faal.engine.numerics import Numerics
from faal.methods import method
from faal.step import Learner


def learner_for(net: nn.Module, recipe: Recipe, counts: Tensor, *, seed: int, numerics: Numerics) -> Learner:
    """A learner at the beginning of a run.

    Args:
        net: the network, on its device.
        recipe: the run's.
        counts: (C,) images of each class (or group) in its training set.
        seed: the run's seed.
        numerics: device and precision.

    Raises:
        InputError: there is no such method, the recipe's `constants` are not its, or its `sync_batchnorm` cannot be.
    """
    row = method(recipe.method)
    return Learner(
        net=net,
        parallel=processes.parallel(net, sync_batchnorm=recipe.sync_batchnorm),
        optimizer=torch.optim.SGD(
            net.parameters(),
            lr=recipe.lr.at(0.0),
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=True,
        ),
        rule=row.make_rule(recipe, counts).to(numerics.device),
        method=row,
        recipe=recipe,
        num_groups=len(counts),
        seed=seed,
        numerics=numerics,
    )
