"""Architectures by name, seeds, and a user's own networks."""

import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import toy_data
from torch import Tensor, nn

from faal.config import Recipe
from faal.errors import InputError
from faal.models import MODELS, Architecture, Normalized, build_model

TINY = Architecture(model="small", num_classes=3, channels=1, width=2)


def state(model: nn.Module) -> list[Tensor]:
    return list(model.state_dict().values())


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(first), state(second), strict=True))


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (7, 3)])
def test_every_name_with_any_classes_and_channels(name: str, classes: int, channels: int) -> None:
    width = 1 if name.startswith("wrn") else 4
    depth = 10 if name.startswith("wrn") else 1
    model = build_model(
        Architecture(model=name, num_classes=classes, channels=channels, width=width, depth=depth), seed=0
    )
    assert model.training
    assert model(torch.rand(2, channels, 8, 8)).shape == (2, classes)


def test_an_architecture_from_its_plain_dict() -> None:
    architecture = Architecture(model="wrn34-10", num_classes=10, width=2, depth=10, normalize="cifar10")
    assert Architecture(**asdict(architecture)) == architecture


@pytest.mark.parametrize("name", ["prn18", "rn18", "wrn10-1", "small", "small-gn"])
def test_the_seed_decides_the_weights(name: str) -> None:
    architecture = Architecture(model=name, num_classes=3, width=None if name.startswith("wrn") else 2)
    first = build_model(architecture, seed=5)
    assert same(first, build_model(architecture, seed=5))
    assert not same(first, build_model(architecture, seed=6))


def test_with_a_seed_the_callers_generator_does_not_change() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    build_model(TINY, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_with_a_seed_no_other_devices_generator_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seed: int) -> None:
        raise AssertionError("torch.manual_seed seeds every device")

    monkeypatch.setattr(torch, "manual_seed", fail)
    build_model(TINY, seed=0)


def test_without_a_seed_the_callers_generator_decides() -> None:
    torch.manual_seed(11)
    first = build_model(TINY)
    second = build_model(TINY)
    torch.manual_seed(11)
    assert same(first, build_model(TINY))
    assert not same(first, second)


def test_a_named_normalisation_wraps_the_same_network() -> None:
    plain = build_model(TINY, seed=0).eval()
    wrapped = build_model(Architecture(**asdict(TINY) | {"normalize": "0.5:0.25"}), seed=0).eval()
    assert isinstance(wrapped, Normalized)
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(wrapped(images), plain((images - 0.5) / 0.25))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 1}, "2 classes or more, not 1"),
        ({"channels": 0}, "channels is 1 or more, not 0"),
        ({"width": 0}, "width is 1 or more, not 0"),
        ({"depth": -2}, "depth is 1 or more, not -2"),
        ({"normalize": "0.5"}, "MEAN:STD"),
        ({"normalize": "cifar10", "channels": 1}, "3 numbers for images of 1 channel"),
    ],
)
def test_numbers_out_of_range(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Architecture(**{"model": "small", "num_classes": 10} | fields)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("prn81", "no model 'prn81'; did you mean 'prn18'"),
        ("wrn34x10", "did you mean 'wrn34-10'"),
        ("wrn34-0", "no model 'wrn34-0'"),
        ("wrn30-2", "depth is 6n \\+ 4.* not 30"),
        ("wrn4-2", "depth is 6n \\+ 4.* not 4"),
    ],
)
def test_no_such_model(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(Architecture(model=name, num_classes=10))


OWN = """
    from torch import nn

    class Net(nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.linear = nn.Linear(4, num_classes)
        def forward(self, x):
            return self.linear(x.flatten(1))

    def with_classes(num_classes):
        return Net(num_classes)

    def with_anything(**options):
        return Net(**options)

    def without():
        return Net(6)

    def other_argument(num_classes, /, width=3):
        return Net(num_classes)

    def wrong():
        return "a net"

    def halved():
        return Net(5).half()

    def broken():
        raise RuntimeError("no weights here")

    number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, which is not on the path, as under an installed command."""
    (tmp_path / "user_nets.py").write_text(textwrap.dedent(OWN))
    (tmp_path / "user_typo.py").write_text("def net(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in ("user_nets", "user_typo"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "user_nets"


def build(model: str, **fields: Any) -> nn.Module:
    """The network of an architecture that the call itself names."""
    return build_model(Architecture(model=model, **fields), seed=1, model=model)


@pytest.mark.parametrize("requested", [None, "user_nets:Net", "small"])
def test_own_function_that_the_call_does_not_name(own: str, requested: str | None) -> None:
    with pytest.raises(InputError, match=r'add --model user_typo:net \(in Python model="user_typo:net"\)$'):
        build_model(Architecture(model="user_typo:net", num_classes=5), model=requested)


@pytest.mark.parametrize(
    ("function", "classes"), [("Net", 5), ("with_classes", 5), ("with_anything", 5), ("without", 6)]
)
def test_own_function(own: str, function: str, classes: int) -> None:
    model = build(f"{own}:{function}", num_classes=5, channels=1)
    assert model(torch.rand(2, 1, 2, 2)).shape == (2, classes)


def test_own_function_is_seeded_and_normalised_too(own: str) -> None:
    fields = {"num_classes": 2, "channels": 1, "normalize": "0.5:0.5"}
    first = build(f"{own}:Net", **fields)
    assert isinstance(first, Normalized)
    assert same(first, build(f"{own}:Net", **fields))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module_here:net", "cannot import 'no_such_module_here'.*ModuleNotFoundError"),
        ("user_typo:net", "cannot import 'user_typo'.*SyntaxError"),
        ("user_nets:nett", "has no function 'nett'"),
        ("user_nets:", "has no function ''"),
        (":net", "cannot import ''"),
        ("user_nets:number", "has no function 'number'"),
        ("user_nets:wrong", "returned a str, and must return a torch.nn.Module"),
        ("user_nets:halved", r"linear.weight is float16; .*\.float\(\)"),
        ("user_nets:broken", "failed with RuntimeError: no weights here"),
        ("user_nets:other_argument", "failed with TypeError"),
    ],
)
def test_own_function_that_is_refused(own: str, reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(reference, num_classes=5)
    assert "\n" not in str(caught.value)


def test_own_function_takes_no_width(own: str) -> None:
    with pytest.raises(InputError, match="has a fixed width and depth"):
        build(f"{own}:Net", num_classes=5, width=8)


def test_the_network_of_a_recipe_and_a_data_set() -> None:
    recipe = Recipe(model="small", width=4, depth=2, normalize="0.5:0.25")
    assert Architecture.of(recipe, toy_data([3, 3, 3])) == Architecture(
        model="small", num_classes=3, channels=1, width=4, depth=2, normalize="0.5:0.25"
    )
