"""Newton's method on one scalar per problem, in a bracket, without a host synchronisation."""

from collections.abc import Callable

import torch
from torch import Tensor

CONVERGED = 1e-7
"""A Newton step as small as this is the last that is needed: its error is about its square."""


def newton(probe: Callable[[Tensor], Tensor], start: Tensor, low: Tensor, high: Tensor, *, steps: int) -> Tensor:
    """The root of one equation per problem.

    No step crosses more than half of what the bracket leaves in its direction: such a step becomes a bisection. Without
    this, steps can alternate between the two ends and barely move either.

    Args:
        probe: from a point to Newton's step there. Its sign is that of the root's direction; an infinite step requests
            a bisection, NaN marks a problem whose result is not used.
        start: where to begin.
        low, high: a bracket of the root, in the shape of `start`. A root on its very edge is found by bisection alone.
        steps: how many at most. On a CPU, where reading a value costs nothing, the search ends once every problem has
            converged; elsewhere, and in a compiled graph, there is no test of convergence.

    Returns:
        The roots, in the shape of `start`.
    """
    s = start
    tests_convergence = may_evaluate(s)
    for _ in range(steps):
        move = probe(s)
        step = torch.clamp(s + move, torch.lerp(low, s, 0.5), torch.lerp(high, s, 0.5))
        below = move.signbit()
        low, high, s = torch.where(below, low, s), torch.where(below, s, high), step
        if tests_convergence and not bool((move.abs() > CONVERGED).any()):
            break
    return s


def may_evaluate(tensor: Tensor) -> bool:
    """Whether a tensor's values are read without a wait: on a CPU, outside a compiled graph, of no subclass."""
    return tensor.device.type == "cpu" and type(tensor) is Tensor and not torch.compiler.is_compiling()
