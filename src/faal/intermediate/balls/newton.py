"""Newton's method on one scalar per problem, in a bracket, without host synchronisation."""

from collections.abc import Callable

import torch
from torch import Tensor

CONVERGED = 1e-7
"""The size of the last Newton step that is needed: its error is about its square."""


def newton(newton_step: Callable[[Tensor], Tensor], start: Tensor, low: Tensor, high: Tensor, *, steps: int) -> Tensor:
    """The root of one equation per problem.

    A step is limited to half of the bracket in its direction, and is then a bisection. Otherwise steps could alternate
    between the two ends with little progress.

    Args:
        newton_step: point -> Newton's step. Its sign is the direction of the root; an infinite step requests a
            bisection, NaN marks a problem whose result is not used.
        start: the initial values.
        low, high: a bracket of the root, in the shape of `start`. A root at its boundary is found by bisection.
        steps: the largest number of steps. On a CPU, where values can be read without cost, the search stops when all
            problems have converged; on other devices, and in a compiled graph, there is no test of convergence.

    Returns:
        The roots, in the shape of `start`.
    """
    s = start
    tests_convergence = may_evaluate(s)
    for _ in range(steps):
        change = newton_step(s)
        step = torch.clamp(s + change, torch.lerp(low, s, 0.5), torch.lerp(high, s, 0.5))
        below = change.signbit()
        low, high, s = torch.where(below, low, s), torch.where(below, s, high), step
        if tests_convergence and not bool((change.abs() > CONVERGED).any()):
            break
    return s


def may_evaluate(tensor: Tensor) -> bool:
    """Whether a tensor's values can be read without synchronisation: on a CPU, not compiled, and not a subclass."""
    return tensor.device.type == "cpu" and type(tensor) is Tensor and not torch.compiler.is_compiling()
