"""What a recipe makes of a network: the learner that the steps work on."""

import torch
from torch import Tensor, nn

from faal.config import Recipe
from faal.engine import graphs, processes
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
    if recipe.sync_batchnorm:
        processes.synchronise(net)
    # `auto` is off: on CPUs compiling gained nothing (docs/performance.md), on GPUs it was not measured yet.
    compiles = recipe.compile == "on"
    forward = graphs.Compiled(net) if compiles else net
    # A recording's warm-up would move the statistics of a network that is attacked in training mode.
    records = compiles and numerics.device.type == "cuda" and recipe.attack_mode == "eval"
    return Learner(
        net=net,
        forward=forward,
        parallel=processes.parallel(forward),
        run=graphs.Recorder() if records else graphs.directly,
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
