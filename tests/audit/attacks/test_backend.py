import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.helpers.subjects import subject_of
from torch import Tensor, nn

from faal.audit import audit
from faal.audit.attacks import backend
from faal.audit.attacks.backend import REFERENCE, Engine, Fast, engine_for
from faal.audit.attacks.registry import attacks_named
from faal.audit.blocks import attack_blocks, clean_blocks
from faal.config import Threat
from faal.engine import processes
from faal.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def _gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine and a threshold at which the smallest network is attacked in bfloat16, which every CPU can compute."""
    monkeypatch.setattr(backend, "multiplies_bf16", lambda device: True)
    monkeypatch.setattr(backend, "MIN_BF16_OPERATIONS", 0)


def convolutional(images: Tensor) -> nn.Module:
    """A net with random weights whose five classes all occur."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 5),
    )  # fmt: skip
    net.eval().requires_grad_(False)
    net[-1].bias -= net(images).mean(dim=0)  # type: ignore[union-attr, operator]
    return net


def boundaries(net: nn.Module, images: Tensor, steps: int = 12) -> Tensor:
    """Images so close to where two classes meet that rounding can decide: bisected between pairs of samples."""
    low, high = images, images.roll(1, 0)
    differ = net(low).argmax(dim=1) != net(high).argmax(dim=1)
    low, high = low[differ], high[differ]
    label = net(low).argmax(dim=1)
    for _ in range(steps):
        middle = (low + high) / 2
        same = (net(middle).argmax(dim=1) == label).view(-1, 1, 1, 1)
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return torch.cat([low, high])


def particular(images: Tensor) -> Tensor:
    """A network that fails in other types than float32."""
    logits = images.flatten(1) @ torch.eye(16, 5)
    if logits.dtype != torch.float32:
        raise TypeError
    return logits


@pytest.mark.usefixtures("_gains")
class TestFast:
    def test_it_decides_near_a_boundary_as_the_network_does_where_the_copy_does_not(self, problem: Any) -> None:
        net = convolutional(problem.images)
        fast = Fast(net, problem.images)
        close = boundaries(net, problem.images)
        assert len(close) > 20
        truth = net(close).argmax(dim=1)
        alone = (fast.copy(close).argmax(dim=1) != truth).sum()
        assert alone > 8
        assert (fast(close).argmax(dim=1) != truth).sum() <= alone / 4
        fast.tolerance *= 4  # eight root mean squares: beyond any error
        assert torch.equal(fast(close).argmax(dim=1), truth)

    def test_near_a_boundary_the_logits_are_the_networks_and_the_gradient_still_the_copys(self, problem: Any) -> None:
        net = convolutional(problem.images)
        fast = Fast(net, problem.images)
        images = torch.cat([boundaries(net, problem.images), problem.images])
        point = images.clone().requires_grad_()
        logits = fast(point)
        assert torch.equal(logits, fast(images))
        overruled = (logits == net(images)).all(dim=1)
        assert overruled.any()
        assert not overruled.all()
        labels = torch.arange(len(images)) % 5
        (found,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), point)
        point = images.clone().requires_grad_()
        (expected,) = torch.autograd.grad(F.cross_entropy(net(point), labels, reduction="sum"), point)
        assert F.cosine_similarity(found.flatten(1), expected.flatten(1)).quantile(0.1) > 0.99

    def test_samples_that_the_copy_may_have_shielded_are_named(self, problem: Any) -> None:
        net = convolutional(problem.images)
        fast = Fast(net, problem.images)
        close, far = boundaries(net, problem.images), problem.images
        here, there = net(close).argmax(dim=1), net(far).argmax(dim=1)
        fast.tolerance *= 4  # eight root mean squares: beyond any error
        assert fast.needs_repeat(close, here).all()
        assert not fast.needs_repeat(close, (here + 1) % 5).any()  # the network misclassifies these
        first, second = net(far).topk(2, dim=1).values.unbind(1)
        sure = first - second > 3 * fast.tolerance
        assert sure.any()
        assert not fast.needs_repeat(far, there)[sure].any()

    def test_the_network_is_unchanged(self, problem: Any) -> None:
        net = convolutional(problem.images).requires_grad_(True)
        before = copy.deepcopy(net.state_dict())
        Fast(net, problem.images)(problem.images)
        assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
        assert net[0].weight.is_contiguous()  # type: ignore[index]
        assert {name: t.dtype for name, t in net.state_dict().items()} == {name: t.dtype for name, t in before.items()}

    def test_the_choice_is_recorded(self, problem: Any) -> None:
        engine = engine_for("fast", convolutional(problem.images), problem.images)
        assert str(engine) == "fast (bfloat16, channels last)"
        assert isinstance(engine.fast, Fast)
        assert engine_for("reference", convolutional(problem.images), problem.images) == REFERENCE
        assert str(REFERENCE) == "reference"

    @pytest.mark.parametrize(
        ("logits_of", "reason"),
        [
            (particular, "bfloat16 fails with TypeError"),
            (lambda images: images.flatten(1)[:, :5].detach(), "bfloat16 fails with RuntimeError"),
            (lambda images: images.flatten(1)[:, :5] + torch.randn(len(images), 5), "bfloat16 is not precise enough"),
            (
                lambda images: 1e-4 * (images.flatten(1) @ torch.ones(16, 5)) + torch.arange(5) / 1e9,
                "not precise enough",
            ),
        ],
        ids=["particular", "no gradient", "random", "constant"],
    )
    def test_a_network_that_is_unsuited_is_attacked_itself(
        self, problem: Any, logits_of: Callable[[Tensor], Tensor], reason: str
    ) -> None:
        class Net(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return logits_of(images)

        torch.manual_seed(0)
        engine = engine_for("fast", Net(), problem.images)
        assert engine.fast is None
        assert reason in engine.form
        assert engine.form.startswith("float32: ")


def test_where_nothing_gains_the_network_is_attacked_itself(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "multiplies_bf16", lambda device: False)
    assert "not faster on this device" in str(engine_for("fast", convolutional(problem.images), problem.images))
    monkeypatch.setattr(backend, "multiplies_bf16", lambda device: True)
    assert "too small to be faster" in str(engine_for("fast", convolutional(problem.images), problem.images))
    result = audit(problem.net, problem.images, problem.labels, attacks="pgd3", epsilon=0.1)
    assert result.engine == "fast (float32: the network is too small to be faster in bfloat16)"


@pytest.mark.usefixtures("_gains")
def test_its_verdicts_are_those_of_the_reference_but_for_samples_at_the_boundary(problem_of: Any) -> None:
    """Of 180 samples, under four attacks; the copy's rounding may change as few as another seed does."""
    problem = problem_of(6, 180)
    settings: dict[str, Any] = {"attacks": "pgd10,cw10", "epsilon": 0.12, "block_size": 60}
    images, labels = problem.images, problem.labels
    plain = settings | {"engine": "reference"}
    reference, other = (audit(problem.net, images, labels, seed=seed, **plain) for seed in (0, 1))
    fast = audit(problem.net, images, labels, **settings)
    assert reference.engine == "reference"
    assert fast.engine == "fast (bfloat16, channels last)"
    for name in ("pgd10", "cw10"):
        robust, robust_fast, robust_other = (found.verdicts.correct(name) for found in (reference, fast, other))
        assert 20 < robust.sum() < 160
        assert (robust != robust_fast).sum() <= (robust != robust_other).sum() + 2
    assert np.array_equal(reference.verdicts.predicted["clean"], fast.verdicts.predicted["clean"])


@pytest.mark.medium
@pytest.mark.usefixtures("_gains")
@pytest.mark.usefixtures("_briefly")
def test_autoattack_on_it_is_as_strong_as_on_the_reference(problem_of: Any) -> None:
    problem = problem_of(5, 24)
    settings: dict[str, Any] = {"attacks": "autoattack", "epsilon": 0.2, "block_size": 24}
    reference, fast = (
        audit(problem.net, problem.images, problem.labels, engine=name, **settings).verdicts.correct("autoattack")
        for name in ("reference", "fast")
    )
    assert 0 < reference.sum() < 24
    assert (reference != fast).sum() <= 1


@pytest.mark.medium
@pytest.mark.usefixtures("_briefly")
def test_a_success_on_the_copy_alone_shields_no_sample(problem: Any) -> None:
    """A copy that misclassifies every image: no attack begins, and every sample is attacked again."""

    class Wrong(Fast):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.tolerance, self.model = 0.0, problem.net

        def forward(self, images: Tensor) -> Tensor:
            return -problem.net(images)  # type: ignore[no-any-return]

        copy = forward

    subject = subject_of(
        problem.net, problem.images[:24], problem.labels[:24], block_size=24, threat=Threat(epsilon=0.2)
    )
    misled = replace(subject, engine=Engine("fast", "misled", Wrong()))
    clean = clean_blocks(subject)
    for attack in attacks_named("pgd10,cw10,autoattack"):
        expected, found = (attack_blocks(each, attack, clean)[0].predicted for each in (subject, misled))
        assert (expected != clean[0].predicted).any()
        assert np.array_equal(found, expected)


def test_machines_of_different_kinds(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One machine attacks the network, the other a copy in bfloat16."""
    monkeypatch.setattr(processes, "gather_objects", lambda own: [own, not own] if isinstance(own, bool) else [own])
    with pytest.raises(InputError, match="engine reference"):
        audit(problem.net, problem.images, problem.labels, attacks="pgd3", epsilon=0.1)
