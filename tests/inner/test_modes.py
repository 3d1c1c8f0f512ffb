"""The context of an attack: evaluation mode, frozen weights, and every flag back as it was."""

import pytest
import torch
from torch import nn

from faal.inner.modes import attacked


@pytest.fixture
def net() -> nn.Module:
    """Modes and frozen weights in every mixture: as in fine-tuning with a frozen backbone."""
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), nn.Dropout(), nn.Flatten(), nn.Linear(2 * 36, 3)
    )
    net.train()
    net[0][1].eval()
    net[1].eval()
    net[0][0].weight.requires_grad_(False)
    net[3].bias.requires_grad_(False)
    return net


def flags(net: nn.Module) -> tuple[list[bool], list[bool]]:
    return [module.training for module in net.modules()], [p.requires_grad for p in net.parameters()]


def test_held_and_restored(net: nn.Module) -> None:
    before = flags(net)
    assert len(set(before[0])) == len(set(before[1])) == 2
    with attacked(net) as held:
        assert held is net
        assert not any(flags(net)[0])
        assert not any(flags(net)[1])
    assert flags(net) == before


def test_training_mode(net: nn.Module) -> None:
    before = flags(net)
    with attacked(net, training=True):
        assert all(flags(net)[0])
        assert not any(flags(net)[1])
    assert flags(net) == before


@pytest.mark.parametrize("training", [False, True])
def test_restored_after_an_exception(net: nn.Module, training: bool) -> None:
    before = flags(net)
    with pytest.raises(KeyboardInterrupt), attacked(net, training=training):
        raise KeyboardInterrupt
    assert flags(net) == before


def test_one_within_another(net: nn.Module) -> None:
    before = flags(net)
    with attacked(net):
        with attacked(net, training=True):
            assert all(flags(net)[0])
        assert not any(flags(net)[0])
    assert flags(net) == before


def test_shared_weights() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.other = self.one

    twice = Twice()
    twice.one.weight.requires_grad_(False)
    before = flags(twice)
    with attacked(twice):
        assert not any(flags(twice)[1])
    assert flags(twice) == before


def test_gradients_stay_where_they_are(net: nn.Module) -> None:
    """A frozen weight's `.grad` is kept, and a backward pass inside adds nothing to it."""
    net[3].weight.grad = torch.ones_like(net[3].weight)
    images = torch.rand(2, 1, 8, 8, requires_grad=True)
    with attacked(net):
        net(images).sum().backward()
    assert images.grad is not None
    assert torch.equal(net[3].weight.grad, torch.ones_like(net[3].weight))
    assert net[0][1].weight.grad is None
