"""Moving averages of the weights against a loop by hand, and the gate before them."""

import copy

import pytest
import torch
from torch import Tensor, nn

from faal.outer.averaging import GatedAverage, WeightAverage


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


@pytest.mark.medium
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


class TestGate:
    """FAWA: avg <- decay avg + (1 - decay) theta, in the epochs whose worst class is accurate enough."""

    def judged(self, average: GatedAverage, walk: list[dict[str, Tensor]], worst: list[float]) -> list[int]:
        """How many epochs the average had taken in after each."""
        taken = []
        for state, accuracy in zip(walk, worst, strict=True):
            average.model.load_state_dict(state)
            average.update_if_fair(accuracy)
            taken.append(average.updates)
        return taken

    def test_an_absolute_gate(self, net: nn.Sequential) -> None:
        """At least 0.2: the second and the fourth epoch. The first that passes is copied."""
        walk, average = states(net, 5), GatedAverage(net, decay=0.88, threshold=0.2)
        assert self.judged(average, walk, [0.19, 0.2, 0.1, 0.3, 0.199]) == [0, 1, 1, 2, 2]
        expected = by_hand([walk[1], walk[3]], [0.88])
        with average.applied() as model:
            found = copy.deepcopy(model.state_dict())
        for name, tensor in found.items():
            if tensor.is_floating_point():
                torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert int(found["1.num_batches_tracked"]) == int(walk[3]["1.num_batches_tracked"])

    def test_until_it_opens_the_weights_are_the_plain_ones(self, net: nn.Sequential) -> None:
        walk, average = states(net, 3), GatedAverage(net, decay=0.88, threshold=0.5)
        assert self.judged(average, walk, [0.1, 0.2, 0.3]) == [0, 0, 0]
        with average.applied() as model:
            assert all(torch.equal(tensor, walk[2][name]) for name, tensor in model.state_dict().items())

    def test_a_relative_gate(self, net: nn.Sequential) -> None:
        """As fair as the first epoch that was judged, which it takes in."""
        walk, average = states(net, 5), GatedAverage(net, decay=0.5, threshold=None)
        assert self.judged(average, walk, [0.15, 0.14, 0.15, 0.0, 0.9]) == [1, 1, 2, 2, 3]
        expected = by_hand([walk[0], walk[2], walk[4]], [0.5, 0.5])
        with average.applied() as model:
            found = model.state_dict()["0.weight"].double()
        torch.testing.assert_close(found, expected["0.weight"], rtol=1e-5, atol=1e-6)

    def test_nothing_is_fair_enough_for_a_gate_of_zero_to_shut(self, net: nn.Sequential) -> None:
        """A worst class at 0 passes a threshold of 0, which is not the same as none."""
        walk, average = states(net, 2), GatedAverage(net, decay=0.5, threshold=0.0)
        assert self.judged(average, walk, [0.4, 0.0]) == [1, 2]

    @pytest.mark.parametrize("threshold", [0.2, None])
    @pytest.mark.parametrize("judged", [0, 1, 3])
    def test_state_round_trip(self, net: nn.Sequential, threshold: float | None, judged: int) -> None:
        walk, worst = states(net, 6), [0.1, 0.25, 0.2, 0.05, 0.15, 0.3]
        average = GatedAverage(net, decay=0.9, threshold=threshold)
        self.judged(average, walk[:judged], worst[:judged])
        other = GatedAverage(copy.deepcopy(net), decay=0.9, threshold=threshold)
        other.load_state_dict(copy.deepcopy(average.state_dict()))
        ends = []
        for each in (average, other):
            self.judged(each, walk[judged:], worst[judged:])
            with each.applied() as model:
                ends.append(copy.deepcopy(model.state_dict()))
        assert average.updates == other.updates
        assert average.threshold == other.threshold == (0.1 if threshold is None else threshold)
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
