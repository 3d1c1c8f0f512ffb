"""FAB's projection in L-infinity, without sorting.

pyautoattack sorts the pixels of every image twice per step to compute the length of the projection; with a small
network that is a large part of the attack's time. The length is the root of an increasing function, which Newton's
method finds in a few passes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyautoattack import fab_base
from torch import Tensor

PASSES = 50
"""An upper limit: each pass fixes at least one pixel, and most passes nearly all."""


def projection_linf(points: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    """The smallest steps in L-infinity that project points of the unit cube onto hyperplanes, within the cube.

    With r_i the distance of pixel i to its bound, 0 or 1, on the hyperplane's side, the step's length is the root of
    sum_i |w_i| min(length, r_i) = |w . x - b|: concave and increasing, so that Newton's method
    converges to it from 0 without exceeding it.

    Args:
        points: (R, D) in [0, 1].
        normals: (R, D), w.
        offsets: (R,), b of the hyperplanes w . x = b.

    Returns:
        (R, D), the steps; if the hyperplane does not intersect the cube, to the cube's closest point.
    """
    excess = (normals * points).sum(dim=1) - offsets
    direction = -normals.sign() * torch.where(excess >= 0, 1.0, -1.0)[:, None]
    slack, weight, required = torch.where(direction > 0, 1 - points, points), normals.abs(), excess.abs()
    length = torch.zeros_like(required)
    for _ in range(PASSES):
        current = (weight * torch.minimum(slack, length[:, None])).sum(dim=1)
        slope = (weight * (slack > length[:, None])).sum(dim=1)
        rest = required - current
        updated = torch.where(rest > 1e-6 * required, length + rest / slope, length)
        if torch.equal(updated, length):
            break
        length = updated
    return direction * torch.minimum(slack, length[:, None])


@contextmanager
def without_sorting() -> Iterator[None]:
    """The context in which pyautoattack's FAB uses this projection."""
    original = fab_base.projection_linf
    fab_base.projection_linf = projection_linf
    try:
        yield
    finally:
        fab_base.projection_linf = original
