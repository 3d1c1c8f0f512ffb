"""FAB's projection in L-infinity, without sorting.

pyautoattack sorts the pixels of every image twice a step to compute how far each has to move; with a small network that
is a large part of the attack's time. The same number is the root of one increasing function, which Newton's method
finds in a few passes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyautoattack import fab_base
from torch import Tensor

PASSES = 50
"""An upper limit: each pass fixes at least one pixel, most of them nearly all, and no image needed as many."""


def projection_linf(points: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    """The smallest steps in L-infinity that bring points of the unit cube onto hyperplanes, within the cube.

    With r_i the distance of pixel i to the face of the cube on the hyperplane's side, the step's length is the root of
    sum_i |w_i| min(length, r_i) = |w . x - b|: concave and increasing, so that Newton's method
    converges to it from 0 and never exceeds it.

    Args:
        points: (R, D) in [0, 1].
        normals: (R, D), w.
        offsets: (R,), b of the hyperplanes w . x = b.

    Returns:
        (R, D), the steps; where the cube does not reach the hyperplane, to the cube's closest point.
    """
    excess = (normals * points).sum(dim=1) - offsets
    direction = -normals.sign() * torch.where(excess >= 0, 1.0, -1.0)[:, None]
    room, weight, needed = torch.where(direction > 0, 1 - points, points), normals.abs(), excess.abs()
    length = torch.zeros_like(needed)
    for _ in range(PASSES):
        reached = (weight * torch.minimum(room, length[:, None])).sum(dim=1)
        slope = (weight * (room > length[:, None])).sum(dim=1)
        missing = needed - reached
        further = torch.where(missing > 1e-6 * needed, length + missing / slope, length)
        if torch.equal(further, length):
            break
        length = further
    return direction * torch.minimum(room, length[:, None])


@contextmanager
def without_sorting() -> Iterator[None]:
    """Within the context pyautoattack's FAB uses this projection."""
    original = fab_base.projection_linf
    fab_base.projection_linf = projection_linf
    try:
        yield
    finally:
        fab_base.projection_linf = original
