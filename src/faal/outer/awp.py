"""Adversarial weight perturbation (Wu et al. 2020): the loss is evaluated at the worst weights in a neighbourhood.

In place: gamma v is added to the weights, the step uses the gradients there, and the same v is subtracted again,
without a second model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from faal.engine import processes

NORM_FLOOR = 1e-20


def perturbable(model: nn.Module) -> list[Tensor]:
    """The parameters that AWP perturbs: weights of two dimensions or more; no biases, no BatchNorm."""
    return [p for name, p in model.named_parameters() if "weight" in name and p.dim() >= 2 and p.requires_grad]


@contextmanager
def perturbed(model: nn.Module, ascent_loss: Callable[[], Tensor], gamma: float) -> Iterator[None]:
    """The context in which `model` has its adversarially perturbed weights; with gamma = 0 it is unchanged.

    Args:
        model: the network, in training mode.
        ascent_loss: the batch's mean loss at the current weights, a scalar. This forward does not change
            BatchNorm's running statistics.
        gamma: the norm of the perturbation relative to each layer's norm.
    """
    if gamma == 0:
        yield
        return
    weights = perturbable(model)
    buffers = list(model.buffers())
    saved = [buffer.clone() for buffer in buffers]
    # An unused weight has the gradient 0 and is not perturbed.
    gradients = processes.all_sum(*torch.autograd.grad(ascent_loss(), weights, materialize_grads=True))
    with torch.no_grad():
        for buffer, before in zip(buffers, saved, strict=True):
            buffer.copy_(before)
        # By the ratio of the norms the result is independent of the scale of the gradient and the number of processes.
        weight_norms = torch._foreach_norm(weights)
        gradient_norms = torch._foreach_norm(gradients)
        perturbations = [
            gradient * (gamma * weight_norm / (gradient_norm + NORM_FLOOR))
            for gradient, weight_norm, gradient_norm in zip(gradients, weight_norms, gradient_norms, strict=True)
        ]
        torch._foreach_add_(weights, perturbations)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_sub_(weights, perturbations)
