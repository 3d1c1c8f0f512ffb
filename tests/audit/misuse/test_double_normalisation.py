from collections.abc import Callable

import pytest
import torch
from tests.audit.misuse.conftest import Bench
from tests.audit.misuse.layers import Layer, chain
from torch import Tensor, nn

from faal.audit.misuse.double_normalisation import double_normalisation
from faal.models.normalize import Normalized


class Named(nn.Module):
    """A normalisation with plain numbers under other names; with several of them it is none of a grey image."""

    def __init__(self, mu: list[float], sigma: float) -> None:
        super().__init__()
        self.mu, self.sigma = mu, sigma

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mu[0]) / self.sigma


class Flat(Named):
    """A network that normalises and flattens in its own forward, before its layers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__([0.3], 0.4)
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(super().forward(images).flatten(1))
        return logits


class Holder(nn.Module):
    """A network with a mean and a standard deviation as buffers, which `use` may apply to the images or not."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, use: Callable[["Holder", Tensor], Tensor] = lambda self, images: images) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.3]))
        self.register_buffer("std", torch.tensor([0.4]))
        self.net, self.use = net, use

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(self.use(self, images))
        return logits


@pytest.mark.parametrize(
    ("wrap", "twice"),
    [
        (lambda net: net, 0),
        (lambda net: chain(Named([0.3], 0.4), net), 1),
        (lambda net: Normalized(Normalized(net, (0.2,), (0.5,)), (0.1,), (0.9,)), 2),
        (lambda net: Normalized(net, (0.0,), (1.0,)), 0),
        (lambda net: Normalized(Normalized(net.net, (0.0,), (1.0,)), (0.3,), (0.4,)), 0),
        (lambda net: chain(Named([0.3], 0.4), Named([0.2], 0.5), net.net), 1),
        (lambda net: chain(Normalized(nn.Identity(), (0.3,), (0.4,)), Flat(net.net[1:])), 1),
        (lambda net: chain(Layer(lambda x: 1 - x), net), 0),
        (lambda net: chain(Named([0.3, 0.3, 0.3], 0.4), net), 0),
    ],
)
def test_chains_of_normalisation(wrap: Callable[[nn.Module], nn.Module], twice: int, bench: Bench) -> None:
    found = double_normalisation(wrap(bench.normalized), bench.samples()[:1])
    assert found.values["twice"] == twice
    assert (found.warning is not None) == (twice > 0)


def test_an_ensemble_normalises_once_for_each_member(bench: Bench) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = nn.ModuleList([bench.normalized, Normalized(bench.plain, (0.2,), (0.3,))])

        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([member(images) for member in self.members]).mean(dim=0)

    found = double_normalisation(Mean(), bench.samples())
    assert found.values == {"layers": ["members.0", "members.1"], "twice": 0}
    assert not bench.normalized._forward_pre_hooks


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: Normalized(Holder(net), (0.3,), (0.4,)),
        lambda net: Holder(Normalized(net, (0.3,), (0.4,))),
        lambda net: Normalized(Holder(Holder(net)), (0.2,), (0.5,)),
        lambda net: Normalized(chain(Holder(nn.Identity()), net), (0.3,), (0.4,)),
        lambda net: Normalized(Holder(net, lambda self, x: x * self.std + self.mean), (0.3,), (0.4,)),
        lambda net: Normalized(Holder(net, lambda self, x: x.maximum(-self.mean / self.std)), (0.3,), (0.4,)),
    ],
    ids=["inside", "outside", "twice inside", "in a layer of its own", "to undo it", "for the bounds"],
)
def test_statistics_that_a_layer_does_not_apply_do_not_count(
    wrap: Callable[[nn.Module], nn.Module], bench: Bench
) -> None:
    found = double_normalisation(wrap(bench.plain), bench.samples()[:1])
    assert found.values["twice"] == 0
    assert len(found.values["layers"]) == 1 + isinstance(wrap(bench.plain), Holder)
    assert found.warning is None


def test_a_layer_whose_normalisation_another_one_applies_is_no_second_one(bench: Bench) -> None:
    """`Holder` has the statistics that the layer within it applies; then the network normalises again."""
    found = double_normalisation(Holder(Normalized(bench.normalized, (0.3,), (0.4,))), bench.samples())
    assert found.values["twice"] == 1
    assert "normalises its images 2 times" in str(found.warning)


def test_members_that_all_normalise_twice_do_not_add_up(bench: Bench) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = (Normalized(bench.normalized, (mean,), (0.4,)) for mean in (0.2, 0.3))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.one(images) + self.other(images)
            return logits

    assert "normalises its images 2 times" in str(double_normalisation(Sum(), bench.samples()).warning)


def test_a_layer_that_normalises_in_place_or_fails_is_traced(bench: Bench) -> None:
    class Failing(Named):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("left by an exception")

    failing = Failing([0.2], 0.5)

    def attempt(self: Holder, images: Tensor) -> Tensor:
        with pytest.raises(RuntimeError):
            failing(images)
        return images.clone().sub_(self.mean).div_(self.std)

    net = Holder(bench.plain, attempt)
    net.failing = failing
    found = double_normalisation(net, bench.samples())
    assert found.values == {"layers": [""], "twice": 0}


def test_other_tensors_are_ignored(bench: Bench) -> None:
    """Images in double, a mask of their size."""
    masked = chain(Layer(lambda x: x.double()), Holder(Layer(lambda x: x > 0)), Layer(lambda x: x.flatten(1).float()))
    assert double_normalisation(masked, bench.samples()).warning is None
    exact = chain(Named([0.3], 0.4), Layer(lambda x: x.double()), Named([0.3], 0.4), Layer(lambda x: x.float()))
    assert double_normalisation(chain(exact, bench.plain), bench.samples()).values["twice"] == 1


def test_a_compiled_network_is_traced_too(bench: Bench) -> None:
    compiled = torch.compile(bench.normalized, backend="eager")
    with torch.no_grad():
        compiled(bench.images[:1])
    found = double_normalisation(Normalized(compiled, (0.3,), (0.4,)), bench.samples())
    assert found.values["twice"] == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_network_is_not_traced(bench: Bench) -> None:
    scripted = torch.jit.script(bench.normalized)
    found = double_normalisation(Normalized(scripted, (0.3,), (0.4,)), bench.samples())
    assert found.values == {"layers": [], "twice": 0}
