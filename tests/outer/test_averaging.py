"""Moving averages of the weights against a loop by hand."""

import copy

import pytest
import torch
from torch import Tensor, nn

from faal.outer.averaging import WeightAverage


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def states(net: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    """A network's states along a walk; BatchNorm counts its batches."""
    generator = torch.Generator().manual_seed(1)
    walk = []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        net(torch.randn(5, 3, generator=generator))
        walk.append(copy.deepcopy(net.state_dict()))
    return walk


def along(average: WeightAverage, walk: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    for state in walk:
        average.model.load_state_dict(state)
        average.update()
    with average.applied() as model:
        return copy.deepcopy(model.state_dict())


def by_hand(walk: list[dict[str, Tensor]], decays: list[float]) -> dict[str, Tensor]:
    average = {name: tensor.double() for name, tensor in walk[0].items()}
    for state, decay in zip(walk[1:], decays, strict=True):
        for name, tensor in state.items():
            average[name] = decay * average[name] + (1 - decay) * tensor.double()
    return average


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.88, 0.999])
def test_constant_decay(net: nn.Sequential, decay: float) -> None:
    walk = states(net, 6)
    found = along(WeightAverage(net, decay=decay, warm_up=False), walk)
    expected = by_hand(walk, [decay] * 5)
    for name, tensor in found.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_ramp(net: nn.Sequential) -> None:
    """min(decay, (t + 1) / (t + 10)) at update t; the first, t = 0, copies."""
    walk = states(net, 6)
    found = along(WeightAverage(net, decay=0.35, warm_up=True), walk)
    expected = by_hand(walk, [2 / 11, 3 / 12, 4 / 13, 0.35, 0.35])
    torch.testing.assert_close(found["0.weight"].double(), expected["0.weight"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["1.running_var"].double(), expected["1.running_var"], rtol=1e-5, atol=1e-6)


def test_the_first_update_copies(net: nn.Sequential) -> None:
    (state,) = states(net, 1)
    found = along(WeightAverage(net, decay=0.999, warm_up=False), [state])
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def test_counters_are_copied(net: nn.Sequential) -> None:
    walk = states(net, 4)
    found = along(WeightAverage(net, decay=0.5, warm_up=False), walk)
    assert found["1.num_batches_tracked"].dtype == torch.int64
    assert int(found["1.num_batches_tracked"]) == 4


class TestApplied:
    def test_restores_bit_for_bit(self, net: nn.Sequential) -> None:
        average = WeightAverage(net, decay=0.88, warm_up=False)
        along(average, states(net, 4))
        before = copy.deepcopy(net.state_dict())
        addresses = [tensor.data_ptr() for tensor in net.state_dict().values()]
        with average.applied() as model:
            assert model is net
            assert not torch.equal(net[0].weight, before["0.weight"])
            net(torch.randn(5, 3))  # what happens to the average's buffers here stays here
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
        assert addresses == [tensor.data_ptr() for tensor in net.state_dict().values()]

    def test_does_not_change_the_average(self, net: nn.Sequential) -> None:
        average = WeightAverage(net, decay=0.88, warm_up=False)
        first = along(average, states(net, 4))
        with average.applied():
            net(torch.randn(5, 3))
        with average.applied() as model:
            assert all(torch.equal(tensor, first[name]) for name, tensor in model.state_dict().items())

    def test_restores_after_an_exception(self, net: nn.Sequential) -> None:
        average = WeightAverage(net, decay=0.88, warm_up=False)
        along(average, states(net, 4))
        before = copy.deepcopy(net.state_dict())
        with pytest.raises(KeyboardInterrupt), average.applied():
            raise KeyboardInterrupt
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())

    def test_before_the_first_update_the_model_is_its_own(self, net: nn.Sequential) -> None:
        before = copy.deepcopy(net.state_dict())
        with WeightAverage(net, decay=0.88, warm_up=False).applied() as model:
            assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def test_gradients_are_recorded_inside(self, net: nn.Sequential) -> None:
        """An attack on the averaged network needs them."""
        average = WeightAverage(net, decay=0.88, warm_up=False)
        along(average, states(net, 2))
        with average.applied():
            assert torch.is_grad_enabled()


@pytest.mark.parametrize("updates", [0, 3])
def test_state_round_trip(net: nn.Sequential, updates: int) -> None:
    walk = states(net, 6)
    average = WeightAverage(net, decay=0.9, warm_up=True)
    along(average, walk[:updates])
    other_net = copy.deepcopy(net)
    other = WeightAverage(other_net, decay=0.9, warm_up=True)
    other.load_state_dict(copy.deepcopy(average.state_dict()))
    here, there = along(average, walk[updates:]), along(other, walk[updates:])
    assert all(torch.equal(here[name], there[name]) for name in here)
