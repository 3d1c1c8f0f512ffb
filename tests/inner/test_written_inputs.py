"""Networks that write into the images that they are given: attacked, audited and trained as others are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import toy_data
from torch import Tensor, nn

import faal
from faal.config import Recipe
from faal.models import Architecture
from faal.train.loop import train

IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 3


def first_channel(images: Tensor) -> Tensor:
    images[:, 0] = 2 * images[:, 0]
    return images


def by_data(images: Tensor) -> Tensor:
    images.data.sub_(0.5)
    return images


WRITES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "normalised in place": (lambda x: x.sub_(0.5).div_(0.25), lambda x: (x - 0.5) / 0.25),
    "a part overwritten": (first_channel, lambda x: 2 * x),
    "an activation in place": (nn.ReLU(inplace=True), nn.ReLU()),
    "behind autograd's back": (by_data, lambda x: x - 0.5),
}
"""In place, and the same without."""


class Net(nn.Module):
    def __init__(self, before: Callable[[Tensor], Tensor], pixels: int = 16) -> None:
        super().__init__()
        self.before, self.linear = before, nn.Linear(pixels, 3)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            self.linear.weight.copy_(torch.randn(3, pixels, generator=generator))
            self.linear.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.before(images).flatten(1))  # type: ignore[no-any-return]


def pair(kind: str, pixels: int = 16) -> tuple[nn.Module, nn.Module]:
    return Net(WRITES[kind][0], pixels), Net(WRITES[kind][1], pixels)


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("batch_size", [None, 5])
def test_audit(kind: str, batch_size: int | None) -> None:
    images = IMAGES.clone()
    found = [
        faal.audit(net.eval(), images, LABELS, attacks="pgd3,cw3", epsilon=0.1, batch_size=batch_size)
        for net in pair(kind)
    ]
    assert torch.equal(images, IMAGES)
    for name, predicted in found[0].verdicts.predicted.items():
        assert (predicted == found[1].verdicts.predicted[name]).all()
    assert found[0].data["fingerprint"] == found[1].data["fingerprint"]


@pytest.mark.medium
@pytest.mark.parametrize("kind", WRITES)
def test_autoattack(kind: str) -> None:
    inside, plain = (
        faal.audit(net.eval(), IMAGES[:6], LABELS[:6], attacks="autoattack", epsilon=0.02) for net in pair(kind)
    )
    assert (inside.verdicts.predicted["autoattack"] == plain.verdicts.predicted["autoattack"]).all()


class Source:
    """A store that returns its own images rather than copies."""

    def __init__(self) -> None:
        self.images = IMAGES.clone()

    def __len__(self) -> int:
        return 24

    def fetch(self, index: Tensor) -> Tensor:
        first, last = int(index[0]), int(index[-1])
        return self.images[first : last + 1] if last - first + 1 == len(index) else self.images[index]


def test_a_store_keeps_its_images() -> None:
    source = Source()
    faal.audit(pair("normalised in place")[0].eval(), source, LABELS, attacks="pgd2", epsilon=0.1)
    assert torch.equal(source.images, IMAGES)


@pytest.mark.parametrize("kind", WRITES)
def test_offsets(kind: str) -> None:
    inside, plain = (faal.offsets(net, IMAGES, LABELS, epsilon=0.1, attack="cw2") for net in pair(kind))
    torch.testing.assert_close(inside, plain)


@pytest.mark.parametrize("method", ["standard", "trades", "faal-trades-awp", "bat"])
@pytest.mark.parametrize("kind", WRITES)
def test_training(kind: str, method: str, recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([8, 8, 8])
    settings: dict[str, Any] = {"method": method, "model": "small", "epochs": 1, "extra_clean_forward": True}
    chosen = recipe.replace(settings, source="test")
    nets = pair(kind, 64)
    for number, net in enumerate(nets):
        out, device = tmp_path / str(number), torch.device("cpu")
        train(net, Architecture.of(chosen, data), data, chosen, out=out, seed=0, device=device, quiet=True)
    torch.testing.assert_close(nets[0].state_dict(), nets[1].state_dict())
