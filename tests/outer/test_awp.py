"""Adversarial weight perturbation against the published procedure, which keeps a copy of the network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faal.models.architectures.small import SmallNet
from faal.outer.awp import perturbable, perturbed

IMAGES = torch.rand(12, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % 3
GAMMA = 0.02


@pytest.fixture
def net() -> SmallNet:
    torch.manual_seed(0)
    return SmallNet(3, width=4, depth=2).double().train()


def loss_of(net: nn.Module) -> Tensor:
    return F.cross_entropy(net(IMAGES), LABELS)


def sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def published_step(net: nn.Module, optimizer: torch.optim.Optimizer, gamma: float) -> None:
    """Wu et al. 2020: a proxy takes the ascent step; v is its move, scaled to the norm of each weight."""
    proxy = copy.deepcopy(net)
    proxy_loss = -loss_of(proxy)
    optimizer_of_proxy = torch.optim.SGD(proxy.parameters(), lr=0.01)
    optimizer_of_proxy.zero_grad()
    proxy_loss.backward()
    optimizer_of_proxy.step()
    moves = {}
    for (name, own), moved in zip(net.named_parameters(), proxy.parameters(), strict=True):
        if "weight" in name and own.dim() > 1:
            difference = (moved - own).detach()
            moves[name] = gamma * own.detach().norm() / (difference.norm() + 1e-20) * difference
    with torch.no_grad():
        for name, move in moves.items():
            net.get_parameter(name).add_(move)
    optimizer.zero_grad()
    loss_of(net).backward()
    optimizer.step()
    with torch.no_grad():
        for name, move in moves.items():
            net.get_parameter(name).sub_(move)


@pytest.mark.medium
@pytest.mark.parametrize("gamma", [0.005, 0.02, 0.5])
def test_as_published(net: SmallNet, gamma: float) -> None:
    """Three steps in float64: the same weights, momentum and running statistics, without a second network."""
    reference = copy.deepcopy(net)
    optimizer, reference_optimizer = sgd(net), sgd(reference)
    for _ in range(3):
        published_step(reference, reference_optimizer, gamma)
        with perturbed(net, lambda: loss_of(net), gamma):
            optimizer.zero_grad()
            loss_of(net).backward()
            optimizer.step()
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, reference.state_dict()[name], rtol=1e-9, atol=1e-12)
    assert int(net.features[1].num_batches_tracked) == 3


def test_what_moves_and_how_far(net: SmallNet) -> None:
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    moved = {"features.0.weight", "features.3.weight", "linear.weight"}
    loss = float(loss_of(net).detach())
    with perturbed(net, lambda: loss_of(net), GAMMA):
        for name, parameter in net.named_parameters():
            length = float((parameter - before[name]).detach().norm() / before[name].norm()) if name in moved else 0
            assert length == pytest.approx(GAMMA if name in moved else 0, rel=1e-6)
            assert (name in moved) is not torch.equal(parameter, before[name])
        assert float(loss_of(net).detach()) > loss
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=1e-12, atol=1e-15)


def test_the_weights_are_those_of_layers(net: SmallNet) -> None:
    assert [tuple(p.shape) for p in perturbable(net)] == [(4, 1, 3, 3), (8, 4, 3, 3), (3, 128)]
    net.linear.weight.requires_grad_(False)
    assert len(perturbable(net)) == 2


def test_the_ascent_pass_leaves_batchnorm_alone(net: SmallNet) -> None:
    loss_of(net)
    before = [buffer.clone() for buffer in net.buffers()]
    counted = []

    def ascent() -> Tensor:
        loss = loss_of(net)
        counted.append(int(net.features[1].num_batches_tracked))
        return loss

    with perturbed(net, ascent, GAMMA):
        assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))
        loss_of(net)
    assert counted == [2]
    assert int(net.features[1].num_batches_tracked) == 2


def test_gamma_zero_does_nothing_at_all(net: SmallNet) -> None:
    def never() -> Tensor:
        raise AssertionError

    before = copy.deepcopy(net.state_dict())
    with perturbed(net, never, 0.0):
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_restored_after_an_exception(net: SmallNet) -> None:
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(KeyboardInterrupt), perturbed(net, lambda: loss_of(net), 0.5):
        raise KeyboardInterrupt
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-12, atol=1e-15)


def test_gradients_stay_out_of_grad(net: SmallNet) -> None:
    with perturbed(net, lambda: loss_of(net), GAMMA):
        assert all(p.grad is None for p in net.parameters())


def test_a_flat_layer_stays(net: SmallNet) -> None:
    """Without a gradient there is no direction, and no NaN."""
    net.float()
    with torch.no_grad():
        net.linear.weight.zero_()
    before = [p.detach().clone() for p in net.features.parameters()]
    images = IMAGES.float()
    with perturbed(net, lambda: F.cross_entropy(net(images), LABELS), GAMMA):
        assert all(torch.equal(a, b) for a, b in zip(before, net.features.parameters(), strict=True))
        assert all(bool(torch.isfinite(p).all()) for p in net.parameters())
