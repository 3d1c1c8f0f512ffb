"""Where the attack's path crosses the boundary: on a network whose boundary is known, and against a loop over the
samples."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from faal.inner.boundary import crossing
from faal.inner.pgd import LOSSES, STARTS, AttackSettings, pgd
from faal.models import Architecture, build_model


class Brightness(nn.Module):
    """Class 1 where the mean exceeds a half; every step of the attack moves the whole image towards it."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1) * 10


STEP, EPSILON, STEPS = 0.02, 0.1, 4
MEANS = [0.45, 0.47, 0.40, 0.55, 0.40, 0.55, 0.43, 0.4301]
LABELS = torch.tensor([0, 0, 0, 1, 1, 0, 0, 0])
IMAGES = torch.tensor(MEANS, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 3, 3).clone()


def cross(**other: object) -> tuple[list[float], list[float]]:
    """The two points as brightness."""
    budgets: dict = {"epsilon": EPSILON, "step_size": STEP} | other
    attack = AttackSettings(steps=budgets.pop("steps", STEPS), start="zero")
    found = crossing(Brightness(), IMAGES, LABELS, attack, noise=torch.zeros_like(IMAGES), **budgets)
    for points in found:
        spread = points - points.mean(dim=(1, 2, 3), keepdim=True)
        assert float(spread.abs().max()) < 1e-12
    return tuple([points.mean().item() for points in side] for side in found)  # type: ignore[return-value]


def test_a_boundary_that_is_known() -> None:
    """Steps of 0.02 to 0.5. 0.45: correct at 0.49, wrong at 0.51, one more to 0.53. 0.55 as 1 likewise, downwards.
    Those at 0.40 as 1 and 0.55 as 0 are wrong at the start and move one step away from it. 0.40 as 0 ends, still
    correct, at 0.48; 0.43 is wrong at its very end, which leaves no step more."""
    last_clean, first_adversarial = cross()
    assert last_clean == pytest.approx([0.49, 0.49, 0.48, 0.51, 0.40, 0.55, 0.49, 0.4901])
    assert first_adversarial == pytest.approx([0.53, 0.53, 0.48, 0.47, 0.38, 0.57, 0.51, 0.5101])


def test_the_ball_ends_the_path() -> None:
    """Within 0.03 of 0.45 nothing crosses: both points lie on the ball. 0.47 goes to 0.49 and 0.50, where the classes
    tie and the first is predicted."""
    last_clean, first_adversarial = cross(epsilon=0.03)
    assert last_clean[0] == first_adversarial[0] == pytest.approx(0.48)
    assert last_clean[2] == first_adversarial[2] == pytest.approx(0.43)
    assert last_clean[4] == pytest.approx(0.40)
    assert first_adversarial[4] == pytest.approx(0.38)


def test_budgets_per_sample() -> None:
    """Half the step for the first, no ball for the second, twice the step and a ball of 0.15 for the third."""
    epsilon = torch.tensor([0.1, 0.0, 0.15] + [0.1] * 5, dtype=torch.float64)
    step_size = torch.tensor([0.01, 0.02, 0.04] + [0.02] * 5, dtype=torch.float64)
    last_clean, first_adversarial = cross(epsilon=epsilon, step_size=step_size)
    assert last_clean[:3] == pytest.approx([0.49, 0.47, 0.48])
    assert first_adversarial[:3] == pytest.approx([0.49, 0.47, 0.55])
    assert (last_clean[3:], first_adversarial[3:]) == tuple(pytest.approx(side[3:]) for side in cross())


def test_without_steps_both_are_the_start() -> None:
    last_clean, first_adversarial = cross(steps=0)
    assert last_clean == first_adversarial == pytest.approx(MEANS)


def by_loop(
    net: nn.Module, image: Tensor, label: int, noise: Tensor, attack: AttackSettings, budgets: dict[str, float]
) -> tuple[Tensor, Tensor]:
    """One sample: its path as `pgd` walks it, point after point, then the definition of both points."""
    path = [
        pgd(net, image[None], torch.tensor([label]), replace(attack, steps=steps), noise=noise[None], **budgets)[0]
        for steps in range(attack.steps + 1)
    ]
    with torch.no_grad():
        wrong = [int(net(point[None]).argmax()) != label for point in path]
    if True not in wrong:
        return path[-1], path[-1]
    first = wrong.index(True)
    return path[max(first - 1, 0)], path[min(first + 1, len(path) - 1)]


def two_layers() -> nn.Module:
    """A curved boundary that is close everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    return net.requires_grad_(False)


# Without KL from the image itself, where its gradient is 0: rounding decides.
PAIRS = [(loss, start) for loss in LOSSES for start in STARTS if (loss, start) != ("kl", "zero")]


@pytest.mark.medium
@pytest.mark.parametrize(("loss", "start"), PAIRS)
def test_against_a_loop_over_the_samples(loss: str, start: str) -> None:
    """On a small network, with budgets of each sample's own; some begin wrong, some cross, some never do."""
    net = two_layers()
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(24, 1, 8, 8, generator=generator, dtype=torch.float64)
    draw = torch.randn if start == "gaussian" else torch.rand
    noise = draw(images.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        labels = net(images).argmax(dim=1)
    labels[:4] = (labels[:4] + 1) % 4
    epsilon = torch.linspace(0.0, 0.4, 24, dtype=torch.float64)
    step_size = torch.linspace(0.02, 0.06, 24, dtype=torch.float64)
    attack = AttackSettings(steps=6, loss=loss, start=start)
    found = crossing(net, images, labels, attack, epsilon=epsilon, step_size=step_size, noise=noise)
    kinds = set()
    for i in range(24):
        own = {"epsilon": float(epsilon[i]), "step_size": float(step_size[i])}
        last_clean, first_adversarial = by_loop(net, images[i], int(labels[i]), noise[i], attack, own)
        torch.testing.assert_close(found.last_clean[i], last_clean, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.first_adversarial[i], first_adversarial, rtol=0, atol=1e-9)
        correct = [int(net(point[None]).argmax()) == int(labels[i]) for point in (last_clean, first_adversarial)]
        kinds.add(tuple(correct))
    assert {(True, True), (True, False), (False, False)} <= kinds


def test_within_the_ball_and_the_range() -> None:
    generator = torch.Generator().manual_seed(5)
    net = build_model(Architecture(model="small", num_classes=3, channels=1, width=4), seed=1).eval()
    images = torch.rand(16, 1, 8, 8, generator=generator).round(decimals=1)
    noise = torch.rand(images.shape, generator=generator)
    labels = torch.arange(16) % 3
    for points in crossing(net, images, labels, AttackSettings(steps=5), epsilon=0.1, step_size=0.03, noise=noise):
        assert float((points - images).abs().max()) <= 0.1 + 1e-6
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
        assert not points.requires_grad


@pytest.mark.parametrize("training", [False, True])
def test_the_network_comes_back_as_it_was(training: bool) -> None:
    """Attacked in evaluation mode its statistics do not move; in training mode they move with every forward."""
    net = build_model(Architecture(model="small", num_classes=3, channels=1, width=4), seed=1).train()
    images, labels = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3
    crossing(
        net,
        images,
        labels,
        AttackSettings(steps=3, loss="kl", start="gaussian", training=training),
        epsilon=0.1,
        step_size=0.03,
        noise=torch.ones_like(images),
    )
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    # One forward for the clean logits, one for each step, one at the end.
    assert int(net.features[1].num_batches_tracked) == (5 if training else 0)
    assert math.isfinite(float(net.features[1].running_mean.sum()))
