"""Newton's method on one scalar per problem, in a bracket, without a look at a value where a look costs something."""

from collections.abc import Callable

import torch
from torch import Tensor

SETTLED = 1e-7
"""A Newton step as small as this is the last that is needed: its error is about its square."""


def newton(probe: Callable[[Tensor], Tensor], guess: Tensor, low: Tensor, high: Tensor, *, steps: int) -> Tensor:
    """The root of one equation per problem. No step crosses more than half of what the bracket leaves in its direction:
    such a step becomes a bisection. Without this they can swing between the two ends and hardly move either.

    Args:
        probe: from a point to Newton's step there. Its sign says on which side the root lies; an infinite one asks for
            a bisection, NaN stands for a problem whose answer nobody uses.
        guess: where to begin.
        low, high: a bracket of the root, in the shape of `guess`. A root on its very edge is found by bisection alone.
        steps: how often, at most. On a CPU, where looking at a value costs nothing, it ends once every problem has
            settled; elsewhere, and in a compiled graph, there is no test of convergence.
    """
    s = guess
    looking = may_evaluate(s)
    for _ in range(steps):
        move = probe(s)
        step = torch.clamp(s + move, torch.lerp(low, s, 0.5), torch.lerp(high, s, 0.5))
        below = move.signbit()
        low, high, s = torch.where(below, low, s), torch.where(below, s, high), step
        if looking and not bool((move.abs() > SETTLED).any()):
            break
    return s


def may_evaluate(tensor: Tensor) -> bool:
    """Whether its values are at hand: on a CPU, outside a compiled graph. A tensor of a subclass may have none."""
    return tensor.device.type == "cpu" and type(tensor) is Tensor and not torch.compiler.is_compiling()
