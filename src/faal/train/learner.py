"""The learner of a recipe, its batches, and the average of its weights."""

import torch
from torch import Tensor, nn

from faal.config import Recipe
from faal.data import Batches
from faal.engine import gradients, graphs, processes
from faal.engine.numerics import Numerics
from faal.methods import method
from faal.outer.averaging import GatedAverage, WeightAverage
from faal.step import Learner
from faal.train.parts import Parts


def compiles(recipe: Recipe) -> bool:
    """Whether networks are compiled. `auto` is off: on CPUs it is not faster (docs/performance.md), on GPUs it has not
    been measured."""
    return recipe.compile == "on"


def records(recipe: Recipe, device: torch.device) -> bool:
    """Whether attacks run as CUDA graphs: with compiled networks on GPUs, unless the capture's warm-up would change the
    statistics of a network that is attacked in training mode."""
    return compiles(recipe) and device.type == "cuda" and recipe.attack_mode == "eval"


def learner_for(net: nn.Module, recipe: Recipe, counts: Tensor, *, seed: int, numerics: Numerics) -> Learner:
    """A learner at the beginning of a run.

    Args:
        net: the network, on its device.
        recipe: the run's.
        counts: (C,) images of each class (or group) in its training set.
        seed: the run's seed.
        numerics: device and precision.

    Raises:
        InputError: there is no such method, its `constants` do not fit, or BatchNorm cannot be synchronised.
    """
    row = method(recipe.method)
    if recipe.sync_batchnorm:
        processes.synchronise(net)
    forward = graphs.Compiled(net, processes.own_part(recipe.batch_size)) if compiles(recipe) else net
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.lr.at(0.0),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )
    optimizer.register_step_pre_hook(begin_late_momentum)
    return Learner(
        net=net,
        forward=forward,
        parallel=gradients.parallel(forward),
        run=graphs.Recorder() if records(recipe, numerics.device) else graphs.directly,
        optimizer=optimizer,
        rule=row.make_rule(recipe, counts).to(numerics.device),
        method=row,
        recipe=recipe,
        num_groups=len(counts),
        seed=seed,
        numerics=numerics,
    )


def begin_late_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Give the parameters that have their first gradient after others a momentum of 0, from which it becomes that
    gradient.

    PyTorch's fused step begins with none of them or with all, and fails where a network has begun to use a layer.
    """
    having = [
        (p, optimizer.state[p]) for group in optimizer.param_groups for p in group["params"] if p.grad is not None
    ]
    late = [(p, state) for p, state in having if state.get("momentum_buffer") is None]
    if len(late) < len(having) and any(group["momentum"] for group in optimizer.param_groups):
        for parameter, state in late:
            state["momentum_buffer"] = torch.zeros_like(parameter)


def average_for(net: nn.Module, recipe: Recipe, steps_per_epoch: int) -> WeightAverage:
    """The average of a network's weights for a recipe, at the beginning of a run."""
    decay = recipe.averaging_decay(steps_per_epoch)
    if recipe.average == "gated":
        return GatedAverage(net, decay=decay, threshold=recipe.average_gate)
    # The influence of random initial weights should decrease quickly; that of trained weights, with which a later
    # average begins, should not.
    return WeightAverage(net, decay=decay, warm_up=recipe.average == "step" and recipe.averaging_starts == 0)


def batches_for(parts: Parts, recipe: Recipe, *, seed: int, numerics: Numerics) -> Batches:
    """The batches of this process, of the images to train on."""
    return Batches(
        parts.full,
        parts.train,
        batch_size=recipe.batch_size,
        seed=seed,
        crop=recipe.crop,
        flip=recipe.flip,
        device=numerics.device,
        memory=numerics.memory,
        rank=processes.rank(),
        world_size=processes.world_size(),
    )
