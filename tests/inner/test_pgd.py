"""Projected gradient ascent: every step against NumPy on a linear softmax model, the box, the ball, the traps."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from faal.inner.norms import NORMS
from faal.inner.pgd import LOSSES, STARTS, AttackSettings, pgd

Array = NDArray[np.float64]
EPSILON, STEP = 0.1, 0.03
THREE_STEPS = AttackSettings(steps=3)


class Linear(nn.Module):
    """logits = W x + b on flattened images."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1) @ self.weight.T + self.bias


@pytest.fixture
def model() -> Linear:
    generator = torch.Generator().manual_seed(1)
    weight, bias = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((6, 20), (6,)))
    return Linear(weight, bias)


@pytest.fixture
def images() -> Tensor:
    """Of 1 x 4 x 5 pixels, a few of them at 0 and 1."""
    images = torch.rand(9, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    images[0], images[1] = 0.0, 1.0
    return images


# Without KL from the image itself: the first gradient there is rounding noise.
PAIRS = [(loss, start) for loss in LOSSES for start in STARTS if (loss, start) != ("kl", "zero")]
LABELS = torch.arange(9) % 6


def noise_for(start: str, images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    draw = torch.randn if start == "gaussian" else torch.rand
    return draw(images.shape, dtype=images.dtype, generator=generator)


def gradient_of(loss: str, w: Array, b: Array, x: Array, labels: Array, clean: Array) -> Array:
    """The gradient with respect to pixels, from the losses' derivatives with respect to the logits."""
    z = x @ w.T + b
    one_hot = np.eye(w.shape[0])[labels]
    if loss == "ce":
        pull = softmax(z, axis=1) - one_hot
    elif loss == "kl":
        pull = softmax(z, axis=1) - softmax(clean @ w.T + b, axis=1)
    else:
        pull = np.eye(w.shape[0])[np.argmax(z - 1e9 * one_hot, axis=1)] - one_hot
    return np.asarray(pull @ w)


def by_hand(
    model: Linear,
    images: Array,
    labels: Array,
    noise: Array,
    *,
    loss: str,
    start: str,
    steps: int,
    eps: Array,
    step: Array,
) -> Array:
    """Algorithm 1, lines 3 to 8, without a framework; eps and step are (B, 1)."""
    w, b = model.weight.detach().numpy(), model.bias.detach().numpy()
    if start == "uniform":
        x = np.clip(images + eps * (2 * noise - 1), 0, 1)
    else:
        x = images + (0.001 * noise if start == "gaussian" else 0)
    for _ in range(steps):
        x = x + step * np.sign(gradient_of(loss, w, b, x, labels, images))
        x = np.clip(np.clip(x, images - eps, images + eps), 0, 1)
    return x


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("loss", "start"), PAIRS)
@pytest.mark.parametrize("own_budgets", [False, True])
def test_steps_by_hand(model: Linear, images: Tensor, loss: str, start: str, steps: int, own_budgets: bool) -> None:
    noise = noise_for(start, images)
    epsilon = torch.linspace(0, 0.2, 9, dtype=torch.float64) if own_budgets else EPSILON
    step_size = torch.linspace(0.05, 0.01, 9, dtype=torch.float64) if own_budgets else STEP
    found = pgd(
        model,
        images,
        LABELS,
        AttackSettings(steps=steps, loss=loss, start=start),
        epsilon=epsilon,
        step_size=step_size,
        noise=noise,
    )
    expected = by_hand(
        model,
        images.flatten(1).numpy(),
        LABELS.numpy(),
        noise.flatten(1).numpy(),
        loss=loss,
        start=start,
        steps=steps,
        eps=np.broadcast_to(np.asarray(epsilon), 9)[:, None],
        step=np.broadcast_to(np.asarray(step_size), 9)[:, None],
    )
    np.testing.assert_allclose(found.flatten(1).numpy(), expected, rtol=0, atol=1e-12)


def test_three_losses_are_three_attacks(model: Linear, images: Tensor) -> None:
    noise = noise_for("uniform", images)
    found = [
        pgd(model, images, LABELS, AttackSettings(steps=7, loss=loss), epsilon=EPSILON, step_size=STEP, noise=noise)
        for loss in LOSSES
    ]
    for one, other in itertools.combinations(found, 2):
        assert int((one != other).sum()) > 5


@pytest.mark.parametrize("start", list(STARTS))
@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_result_is_in_the_ball_and_in_the_box(loss: str, start: str) -> None:
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(16, 3, 4, 4, generator=generator)
    images[:4] = images[:4].round()
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 5))
    found = pgd(
        net,
        images,
        torch.arange(16) % 5,
        AttackSettings(steps=10, loss=loss, start=start),
        epsilon=8 / 255,
        step_size=2 / 255,
        noise=noise_for(start, images),
    )
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float((found - images).abs().max()) <= 8 / 255 + 1e-7
    assert not found.requires_grad


def test_the_attack_raises_its_loss(model: Linear, images: Tensor) -> None:
    for loss in LOSSES:
        loss_fn = LOSSES[loss](model, images)
        found = pgd(
            model,
            images,
            LABELS,
            AttackSettings(steps=10, loss=loss),
            epsilon=EPSILON,
            step_size=STEP,
            noise=noise_for("u", images),
        )
        with torch.no_grad():
            assert bool((loss_fn(model(found), LABELS) > loss_fn(model(images), LABELS)).all())


class TestStarts:
    def test_gaussian_is_not_clipped(self) -> None:
        """As TRADES has it: the start may lie outside of [0, 1]; the first projection brings it back."""
        images, noise = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2), torch.tensor([-2.0, 3.0]).view(1, 1, 1, 2)
        start = STARTS["gaussian"](images, 0.1, noise, NORMS["linf"]).flatten()
        torch.testing.assert_close(start, torch.tensor([-0.002, 1.003]))

    def test_zero_is_a_copy(self) -> None:
        images = torch.rand(2, 1, 2, 2)
        start = STARTS["zero"](images, 0.1, images, NORMS["linf"])
        assert torch.equal(start, images)
        assert start.data_ptr() != images.data_ptr()

    @pytest.mark.parametrize("start", ["uniform", "gaussian"])
    def test_missing_noise(self, model: Linear, images: Tensor, start: str) -> None:
        with pytest.raises(ValueError, match=f"a {start} start needs noise"):
            pgd(model, images, LABELS, AttackSettings(steps=1, start=start), epsilon=EPSILON, step_size=STEP)

    @pytest.mark.parametrize("start", list(STARTS))
    def test_no_steps_give_the_start(self, model: Linear, images: Tensor, start: str) -> None:
        noise = noise_for(start, images)
        found = pgd(
            model, images, LABELS, AttackSettings(steps=0, start=start), epsilon=EPSILON, step_size=STEP, noise=noise
        )
        assert torch.equal(found, STARTS[start](images, EPSILON, noise, NORMS["linf"]))
        assert model.calls == 0


def test_pixels_at_the_edge_still_move() -> None:
    """The gradient is taken at the clipped image. Through the clip it is zero wherever the start left [0, 1]."""
    model = Linear(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.zeros(2))
    images, labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(2, 1, 1, 2), torch.tensor([0, 1])
    # Label 0 wants bright pixels: the attack darkens white ones, and starts from beyond white. And the other way round.
    noise = torch.tensor([0.9, 0.1]).view(2, 1, 1, 1).expand(2, 1, 1, 2)
    delta = (0.2 * (2 * noise - 1)).requires_grad_()
    through_the_clip = nn.functional.cross_entropy(model((images + delta).clamp(0, 1)), labels)
    assert torch.equal(torch.autograd.grad(through_the_clip, delta)[0], torch.zeros_like(delta))
    found = pgd(model, images, labels, AttackSettings(steps=3), epsilon=0.2, step_size=0.05, noise=noise)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.85, 0.85, 0.15, 0.15]))


class TestKeepSuccess:
    """Class 0 below a mean brightness of 1/2, class 1 above; four samples that cross it at different steps."""

    model = Linear(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.5, -0.5]))
    images = torch.tensor([0.49, 0.47, 0.41, 0.60]).view(4, 1, 1, 1)
    labels = torch.tensor([0, 0, 0, 0])

    def attack(self, keep: bool) -> Tensor:
        return pgd(
            self.model,
            self.images,
            self.labels,
            AttackSettings(steps=4, start="zero"),
            epsilon=0.2,
            step_size=0.04,
            keep_success=keep,
        ).flatten()

    def test_a_misclassified_sample_no_longer_moves(self) -> None:
        torch.testing.assert_close(self.attack(True), torch.tensor([0.53, 0.51, 0.53, 0.60]))

    def test_without_it_all_samples_move_on(self) -> None:
        torch.testing.assert_close(self.attack(False), torch.tensor([0.65, 0.63, 0.57, 0.76]))

    def test_no_success_is_lost(self) -> None:
        """Where the loss is not monotone the last iterate may be correct again though an earlier one was not."""

        class Band(nn.Module):
            """Predicts 1 between 0.5 and 0.6 only; its gradient always drives the attack upwards."""

            def forward(self, images: Tensor) -> Tensor:
                x = images.flatten(1).mean(dim=1)
                inside = (x > 0.5) & (x < 0.6)
                return torch.stack([torch.where(inside, -1.0, 3.0) - x, x], dim=1)

        images = torch.tensor([0.48]).view(1, 1, 1, 1)
        run = AttackSettings(steps=6, start="zero")
        for keep, last in ((True, 0.53), (False, 0.78)):
            found = pgd(Band(), images, torch.tensor([0]), run, epsilon=0.4, step_size=0.05, keep_success=keep)
            assert float(found) == pytest.approx(last)
            assert (int(Band()(found).argmax()) == 1) is keep


class TestTheNetwork:
    """The attack leaves the network unchanged."""

    @pytest.fixture
    def net(self) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3)
        )
        net[1].eval()
        net[0].weight.requires_grad_(False)
        return net

    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(6) % 3

    def attack(self, net: nn.Module, attack: AttackSettings = THREE_STEPS) -> Tensor:
        return pgd(net, self.images, self.labels, attack, epsilon=0.1, step_size=0.03, noise=self.images)

    def state(self, net: nn.Module) -> object:
        modes = [module.training for module in net.modules()]
        grads = [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in net.parameters()]
        return modes, grads, {name: tensor.tolist() for name, tensor in net.state_dict().items()}

    @pytest.mark.parametrize("loss", list(LOSSES))
    def test_is_unchanged(self, net: nn.Module, loss: str) -> None:
        net[5].weight.grad = torch.full_like(net[5].weight, 3.0)
        before = self.state(net)
        images = self.images.clone().requires_grad_()
        pgd(
            net, images, self.labels, AttackSettings(steps=3, loss=loss), epsilon=0.1, step_size=0.03, noise=self.images
        )
        assert self.state(net) == before
        assert images.grad is None

    @pytest.mark.parametrize("at", [1, 2, 4])
    def test_is_unchanged_after_a_failure(self, net: nn.Module, at: int) -> None:
        before, calls = self.state(net), 0

        def fail(module: nn.Module, inputs: object) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise RuntimeError("out of memory")

        handle = net[5].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            self.attack(net, AttackSettings(steps=5, loss="kl"))
        handle.remove()
        assert self.state(net) == before

    def test_is_attacked_in_evaluation_mode(self, net: nn.Module) -> None:
        """Dropout is off: the same attack twice. A sample's attack does not depend on its batch."""
        net.train()
        found = self.attack(net)
        assert torch.equal(found, self.attack(net))
        alone = pgd(
            net,
            self.images[:1],
            self.labels[:1],
            AttackSettings(steps=3),
            epsilon=0.1,
            step_size=0.03,
            noise=self.images[:1],
        )
        torch.testing.assert_close(alone, found[:1])

    @pytest.mark.parametrize(("loss", "forwards"), [("ce", 3), ("kl", 4)])
    def test_in_training_mode_its_statistics_move(self, net: nn.Module, loss: str, forwards: int) -> None:
        self.attack(net, AttackSettings(steps=3, loss=loss, training=True))
        assert int(net[1].num_batches_tracked) == forwards
        assert not net[1].training

    def test_needs_no_gradients_from_its_caller(self, net: nn.Module) -> None:
        expected = self.attack(net)
        with torch.no_grad():
            assert torch.equal(self.attack(net), expected)
            assert not torch.is_grad_enabled()


@pytest.mark.parametrize("kind", ["epsilon", "step_size"])
def test_a_sample_without_a_budget_does_not_move(model: Linear, images: Tensor, kind: str) -> None:
    factors = torch.tensor([1.0, 0.0] * 4 + [1.0], dtype=torch.float64)
    budgets: dict[str, float | Tensor] = {"epsilon": EPSILON, "step_size": STEP}
    budgets[kind] = factors * EPSILON
    attack: Callable[..., Tensor] = pgd
    found = attack(model, images, LABELS, AttackSettings(steps=5, start="zero"), **budgets)
    moved = (found - images).abs().flatten(1).amax(dim=1)
    assert torch.equal(moved > 0, factors > 0)
