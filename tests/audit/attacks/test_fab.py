from contextlib import suppress

import torch
from pyautoattack import fab_base
from pyautoattack.fab_projections import projection_linf as by_sorting
from torch import Tensor

from faal.audit.attacks.fab import projection_linf, without_sorting


def problems(rows: int = 64, pixels: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the cube, many of them on its walls; some normals without a pixel; hyperplanes near, far, too far."""
    draw = torch.Generator().manual_seed(2)
    points = (1.4 * torch.rand(rows, pixels, generator=draw, dtype=torch.float64) - 0.2).clamp(0, 1)
    normals = torch.randn(rows, pixels, generator=draw, dtype=torch.float64)
    normals = normals * (torch.rand(normals.shape, generator=draw) < 0.8)
    distance = torch.logspace(-4, 3, rows, dtype=torch.float64) * torch.where(torch.arange(rows) % 2 == 0, 1, -1)
    return points, normals, (normals * points).sum(dim=1) + distance


def test_it_is_the_projection_by_sorting() -> None:
    points, normals, offsets = problems()
    steps = projection_linf(points, normals, offsets)
    torch.testing.assert_close(steps, by_sorting(points, normals, offsets), rtol=0, atol=1e-6)
    single = projection_linf(points.float(), normals.float(), offsets.float())
    torch.testing.assert_close(single.double(), steps, rtol=0, atol=1e-4)


def test_it_reaches_the_hyperplane_within_the_cube_or_its_closest_corner() -> None:
    points, normals, offsets = problems()
    there = points + projection_linf(points, normals, offsets)
    assert there.min() >= 0
    assert there.max() <= 1
    side = (normals * points).sum(dim=1) > offsets
    farthest = torch.where((normals > 0) == side[:, None], 0.0, 1.0)
    reach = (normals * torch.where(normals != 0, farthest, points)).sum(dim=1)
    out_of_reach = torch.where(side, reach > offsets, reach < offsets)
    assert out_of_reach.any()
    assert not out_of_reach.all()
    arrived = (normals * there).sum(dim=1)
    torch.testing.assert_close(arrived, torch.where(out_of_reach, reach, offsets), rtol=1e-5, atol=1e-8)


def test_a_normal_of_zeros_moves_nothing() -> None:
    points = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(projection_linf(points, torch.zeros(2, 5), torch.ones(2)), torch.zeros(2, 5))


def test_the_packages_own_is_restored() -> None:
    original = fab_base.projection_linf
    with suppress(KeyError), without_sorting():
        assert fab_base.projection_linf is projection_linf
        raise KeyError
    assert fab_base.projection_linf is original
