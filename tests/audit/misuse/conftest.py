"""Networks of digits, trained once for each test process, at their first use."""

from functools import cached_property
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faal.audit.misuse.samples import Samples
from faal.data import load_data
from faal.inner.pgd import AttackSettings, pgd
from faal.models import Architecture, build_model
from faal.models.normalize import Normalized

MEAN, DEVIATION = 0.3, 0.4
"""About the digits' own."""


def fit(net: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, epsilon: float = 0.0) -> None:
    """Adam in batches of 64; with an epsilon, on three steps of PGD."""
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=draw).split(64):
            x, y = images[rows], labels[rows]
            if epsilon:
                noise = torch.rand(x.shape, generator=draw)
                x = pgd(net, x, y, AttackSettings(steps=3), epsilon=epsilon, step_size=epsilon / 2, noise=noise)
            net.train()
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    net.eval()


def small(num_classes: int = 10) -> nn.Module:
    return build_model(Architecture(model="small", num_classes=num_classes, channels=1, width=8, depth=2), seed=0)


def dense(num_classes: int = 10) -> nn.Module:
    """A hidden layer with BatchNorm; audited in a tenth of a second."""
    return _seeded(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, num_classes))


def linear(num_classes: int = 10) -> nn.Module:
    return _seeded(nn.Flatten(), nn.Linear(64, num_classes))


def _seeded(*modules: nn.Module) -> nn.Module:
    """Weights of a seed; PyTorch would draw them, biases too, from whatever the tests before left of its generator."""
    net = nn.Sequential(*modules)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(0.2 * torch.randn(layer.weight.shape, generator=draw))
                layer.bias.zero_()
    return net


class Bench:
    """The digits' test half, `images` in [0, 1] and `labels`, and networks that were trained on the other half."""

    def __init__(self) -> None:
        digits = load_data("digits")
        assert digits.train is not None
        assert digits.test is not None
        self.train, self.test = digits.train, digits.test
        self.images, self.labels = digits.test.images.fetch(torch.arange(digits.test.n)), digits.test.labels

    def _fitted(self, net: nn.Module, labels: Tensor | None = None, **how: Any) -> nn.Module:
        images = self.train.images.fetch(torch.arange(self.train.n))
        fit(net, images, self.train.labels if labels is None else labels, **how)
        return net

    @cached_property
    def plain(self) -> nn.Module:
        return self._fitted(dense(), epochs=5)

    @cached_property
    def convolutional(self) -> nn.Module:
        return self._fitted(small(), epochs=2)

    @cached_property
    def robust(self) -> nn.Module:
        return self._fitted(small(), epochs=3, epsilon=0.1)

    @cached_property
    def normalized(self) -> nn.Module:
        return self._fitted(Normalized(dense(), (MEAN,), (DEVIATION,)), epochs=5)

    @cached_property
    def linear(self) -> nn.Module:
        return self._fitted(linear(), epochs=10)

    @cached_property
    def binary(self) -> nn.Module:
        return self._fitted(dense(2), self.train.labels // 5, epochs=5)

    def samples(self, count: int = 64) -> Samples:
        return Samples(images=self.images[:count], labels=self.labels[:count], rows=torch.arange(count))


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()
