"""A problem small enough to attack thousands of times: noisy prototypes of 4 x 4 pixels and a two-layer net."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyautoattack
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Problem:
    net: nn.Module
    images: Tensor
    labels: Tensor


def make_problem(num_classes: int, count: int, seed: int = 0, size: int = 4) -> Problem:
    draw = torch.Generator().manual_seed(seed)
    prototypes = torch.where(torch.rand(num_classes, 1, size, size, generator=draw) < 0.5, 0.25, 0.75)
    labels = torch.arange(count) % num_classes
    images = (prototypes[labels] + 0.2 * torch.randn(count, 1, size, size, generator=draw)).clamp(0, 1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(size**2, 24), nn.ReLU(), nn.Linear(24, num_classes))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(40):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Problem(net.eval(), images, labels)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets this small run faster in one thread, and pytest-xdist takes the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAB with a fifth of its steps and Square with a tenth of its queries, in all calls of pyautoattack: most of
    AutoAttack's time here. `test_the_ensemble_is_set_up_as_published` tests the actual numbers."""
    begin = pyautoattack.AutoAttack.__init__

    def brief(self: pyautoattack.AutoAttack, *words: object, **settings: object) -> None:
        begin(self, *words, **settings)
        self.fab.n_iter, self.square.n_queries = 20, 500

    monkeypatch.setattr(pyautoattack.AutoAttack, "__init__", brief)


@pytest.fixture
def problem() -> Problem:
    """5 classes, 60 samples: clean-correct almost everywhere, about half robust at epsilon 0.15."""
    return make_problem(5, 60)


@pytest.fixture
def problem_of() -> Callable[..., Problem]:
    return make_problem
