"""The norms' starts, steps, projections and distances, against hand-worked numbers and scipy."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor, nn

from faal.inner.norms import NORMS, gradient_step, project, project_l2, sign_step, sphere_start, uniform_start
from faal.inner.pgd import LOSSES, STARTS, AttackSettings, pgd


def row(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


class TestLinf:
    def test_start(self) -> None:
        start = uniform_start(row(0.5, 0.5, 0.5, 0.0, 1.0), 0.2, row(0.0, 0.5, 0.75, 0.1, 0.9))
        torch.testing.assert_close(start, row(0.3, 0.5, 0.6, 0.0, 1.0))

    def test_step_and_projection(self) -> None:
        images = row(0.50, 0.95, 0.05)
        stepped = sign_step(images, row(3.0, 1e-20, -2.0), 0.1)
        torch.testing.assert_close(stepped, row(0.60, 1.05, -0.05))
        torch.testing.assert_close(project(stepped, images, 0.08), row(0.58, 1.00, 0.00))
        assert torch.equal(sign_step(images, torch.zeros_like(images), 0.1), images)

    def test_distance(self) -> None:
        assert NORMS["linf"].distance(row(0.5, 0.2), row(0.1, 0.3)).tolist() == pytest.approx([0.4])


class TestL2:
    def test_step(self) -> None:
        stepped = gradient_step(row(0.5, 0.5), row(3.0, -4.0), 0.5)
        torch.testing.assert_close(stepped, row(0.8, 0.1))

    def test_a_gradient_of_any_size_has_a_direction_and_none_moves_nothing(self) -> None:
        images = row(0.5, 0.5)
        torch.testing.assert_close(gradient_step(images, row(3e-9, -4e-9), 0.5), row(0.8, 0.1))
        assert torch.equal(gradient_step(images, row(0.0, 0.0), 0.5), images)

    def test_projection(self) -> None:
        torch.testing.assert_close(project_l2(row(0.9, 0.8), row(0.6, 0.4), 0.25), row(0.75, 0.6))
        inside = row(0.61, 0.42)
        torch.testing.assert_close(project_l2(inside, row(0.6, 0.4), 0.25), inside)
        torch.testing.assert_close(project_l2(row(0.9, -2.0), row(0.9, 0.1), 0.5), row(0.9, 0.0))

    def test_projection_onto_the_ball_is_the_nearest_point(self) -> None:
        """Where [0, 1] does not bind: against a constrained minimiser."""
        centre, point = row(0.5, 0.5, 0.5), row(0.8, 0.4, 0.65)
        found = optimize.minimize(
            lambda x: float(((x - point.numpy().ravel()) ** 2).sum()),
            x0=[0.5, 0.5, 0.5],
            constraints={"type": "ineq", "fun": lambda x: 0.2**2 - ((x - 0.5) ** 2).sum()},
            tol=1e-10,
        )
        np.testing.assert_allclose(project_l2(point, centre, 0.2).numpy().ravel(), found.x, atol=1e-5)

    def test_distance(self) -> None:
        assert NORMS["l2"].distance(row(0.5, 0.2), row(0.2, 0.6)).tolist() == pytest.approx([0.5])

    def test_start_lies_on_the_sphere_in_every_direction_alike(self) -> None:
        """n = 4,000 in three dimensions: a coordinate of a uniform direction is uniform (Archimedes)."""
        images = torch.full((4000, 3, 1, 1), 0.5)
        start = sphere_start(images, 0.3, uniform(4000, 3, 1, 1))
        torch.testing.assert_close(NORMS["l2"].distance(start, images), torch.full((4000,), 0.3))
        for channel in range(3):
            coordinate = ((start - images)[:, channel].flatten() / 0.3).numpy()
            assert stats.kstest(coordinate, stats.uniform(-1, 2).cdf).pvalue > 0.01

    def test_noise_of_exactly_zero(self) -> None:
        start = sphere_start(torch.full((1, 1, 1, 2), 0.5), 0.1, row(0.0, 0.5))
        torch.testing.assert_close(start, row(0.4, 0.5))

    def test_the_attack_finds_the_optimum_of_a_linear_model(self) -> None:
        """Its margin falls fastest along the difference of the weights: the optimum is known in closed form."""
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
        with torch.no_grad():
            net[1].weight.copy_(torch.randn(2, 48, generator=torch.Generator().manual_seed(1)))
        images, labels = torch.full((3, 3, 4, 4), 0.5), torch.tensor([0, 1, 0])
        found = pgd(
            net,
            images,
            labels,
            AttackSettings(steps=60, loss="cw", norm="l2"),
            epsilon=0.4,
            step_size=0.1,
            noise=uniform(3, 3, 4, 4),
        )
        direction = (net[1].weight[1] - net[1].weight[0]).detach()
        sign = torch.tensor([1.0, -1.0, 1.0])
        optimum = images + 0.4 * (sign[:, None] * direction / direction.norm()).view(3, 3, 4, 4)
        torch.testing.assert_close(found, optimum, atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
class TestEither:
    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("start", STARTS)
    def test_the_result_is_in_the_ball_and_in_the_box(self, norm: str, loss: str, start: str) -> None:
        generator = torch.Generator().manual_seed(4)
        images = torch.rand(16, 3, 4, 4, generator=generator)
        images[:4] = images[:4].round()
        noise = uniform(*images.shape, seed=5) if start == "uniform" else torch.randn(images.shape, generator=generator)
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 5))
        found = pgd(
            net,
            images,
            torch.arange(16) % 5,
            AttackSettings(steps=10, loss=loss, start=start, norm=norm),
            epsilon=0.1,
            step_size=0.03,
            noise=noise,
        )
        assert float(NORMS[norm].distance(found, images).max()) <= 0.1 + 1e-6
        assert 0 <= float(found.min()) <= float(found.max()) <= 1

    def test_a_radius_for_each(self, norm: str) -> None:
        images, radius = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0.1, 0.3])
        start = NORMS[norm].start(images, radius, torch.zeros(2, 1, 2, 2))
        torch.testing.assert_close(NORMS[norm].distance(start, images), radius)
        far = NORMS[norm].step(images, torch.ones_like(images), 10 * radius)
        torch.testing.assert_close(NORMS[norm].distance(far, images), 10 * radius)
        torch.testing.assert_close(NORMS[norm].distance(NORMS[norm].project(far, images, radius), images), radius)
