"""The mode of a network under attack: evaluation mode with frozen weights; restored exactly."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def attacked(model: nn.Module, *, training: bool = False) -> Iterator[nn.Module]:
    """Evaluation mode and frozen weights during an attack; afterwards every flag is restored, module by module.

    Frozen weights keep attack gradients out of `.grad`, and under `torch.compile` they avoid the weight gradients,
    which add half the cost of the input gradient.

    Args:
        model: the network under attack.
        training: attack in training mode instead, so that BatchNorm normalises by the attacked batch (some published
            methods do so; the running statistics are then updated in every step of the attack).
    """
    modes = [(module, module.training) for module in model.modules()]
    grads = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.train(training)
        for parameter, _ in grads:  # individually: a ScriptModule has no `requires_grad_`
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in grads:
            parameter.requires_grad_(flag)
