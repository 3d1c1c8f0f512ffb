"""Newton's method on one scalar per problem, in a bracket, of fixed length."""

from collections.abc import Callable

import torch
from torch import Tensor

SLACK = 1e-12
"""How far a step may leave the bracket: at the root, rounding may put it on the other side of where it came from."""


def newton(
    probe: Callable[[Tensor], tuple[Tensor, Tensor]], guess: Tensor, low: Tensor, high: Tensor, *, steps: int
) -> Tensor:
    """The root of one equation per problem. A step that leaves the bracket, or crosses more than half of it, becomes a
    bisection: without the second condition steps can swing between the two ends and hardly move either.

    Args:
        probe: from a point, (bool) whether the root lies above it, and where Newton's step from it ends. The latter may
            be NaN.
        guess: where to begin.
        low, high: a bracket of the root, in the shape of `guess`.
        steps: how often; no test of convergence, which would have to look at values.
    """
    s = guess
    for _ in range(steps):
        above, step = probe(s)
        low, high = torch.where(above, s, low), torch.where(above, high, s)
        inside = (step >= low - SLACK) & (step <= high + SLACK) & ((step - s).abs() <= (high - low) / 2 + SLACK)
        s = torch.where(inside, step, (low + high) / 2)
    return s
