"""Whatever is handed to `faal.audit` and `faal.offsets`: what does not fit ends in one sentence, before the attacks."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.odd import ODD, refusals
from torch import Tensor, nn

import faal
from faal import InputError

NET = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
IMAGES, LABELS = torch.rand(12, 1, 2, 2), torch.arange(12) % 3
ATTACK: dict[str, Any] = {"attacks": "pgd1", "epsilon": 0.1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a description of the machine, which takes longer than these audits; a relative `out` is in `tmp_path`."""
    monkeypatch.setattr(importlib.import_module("faal.audit.stages"), "environment", lambda device: {})
    monkeypatch.chdir(tmp_path)


def audit(**changes: Any) -> Any:
    given = {"model": NET, "images": IMAGES, "labels": LABELS, **ATTACK, **changes}
    return faal.audit(given.pop("model"), given.pop("images"), given.pop("labels"), **given)


def offsets(**changes: Any) -> Tensor:
    given = {"model": NET, "images": IMAGES, "labels": LABELS, "epsilon": 0.1, "attack": "pgd1", **changes}
    return faal.offsets(given.pop("model"), given.pop("images"), given.pop("labels"), **given)


WHOLE = {"NumPy's whole number", "a whole number as a tensor"}
BELOW_1 = {"a Fraction", "NumPy's number", "a tensor of one number"}

TAKEN: dict[str, set[str]] = {
    "model": set(),
    "images": set(),
    "labels": set(),
    "classes": {"None", "an array of texts", "a range"},
    "attacks": {"an empty list", "an empty tensor"},
    "epsilon": BELOW_1 | {"a whole number as a tensor"},
    "norm": set(),
    "seed": WHOLE | {"0", "-1"},
    "block_size": WHOLE,
    "batch_size": WHOLE | {"None"},
    "limit": WHOLE | {"None"},
    "level": BELOW_1,
    "groups": {"an empty text", "an empty list", "an empty tensor"},
    "engine": set(),
    "local": {"True"},
    "out": {"None", "a text", "a path", "control characters"},
    "model_record": {"None", "a dict"},
    "data_record": {"None", "a dict"},
    "trained": {"None"},
    "train_images": {"None"},
    "notes": {"a list of texts", "an empty list", "an empty tensor", "an array of texts"},
}
"""The arguments of `faal.audit`, and the odd values that each takes."""


@pytest.mark.parametrize("argument", TAKEN)
def test_an_argument_of_the_audit(argument: str) -> None:
    assert refusals(lambda value: audit(**{argument: value})) == set(ODD) - TAKEN[argument]


@pytest.mark.parametrize(
    ("argument", "taken"),
    [
        ("model", set()),
        ("images", set()),
        ("labels", set()),
        ("epsilon", BELOW_1 | {"a whole number as a tensor"}),
        ("norm", set()),
        ("attack", set()),
        ("rule", set()),
        ("seed", WHOLE | {"0", "-1"}),
        ("batch_size", WHOLE),
        ("local", {"True"}),
    ],
)
def test_an_argument_of_the_offsets(argument: str, taken: set[str]) -> None:
    assert refusals(lambda value: offsets(**{argument: value})) == set(ODD) - taken


@pytest.mark.filterwarnings("ignore")  # a warning with a lone surrogate cannot be sent to the main process of pytest
def test_load_model() -> None:
    assert refusals(faal.load_model) == set(ODD)
    refused = refusals(lambda value: faal.load_model("zoo:prn18w16-pgd-at", model=value))
    assert refused == set(ODD) - {"None"}


def test_progress() -> None:
    taken = {"a type", "a function", "a module"}  # which end in an error of their own when they are called
    for name in set(ODD) - taken - {"None"}:
        with pytest.raises(InputError, match="progress"):
            audit(progress=ODD[name])


NO_IMAGES: dict[str, Any] = {
    "a width of 0": torch.rand(12, 1, 2, 0),
    "a height of 0": torch.rand(12, 1, 0, 2),
    "no channels": torch.rand(12, 0, 2, 2),
    "five dimensions": torch.rand(12, 1, 2, 2, 2),
    "none": torch.rand(0, 1, 2, 2),
    "int64": torch.zeros(12, 1, 2, 2, dtype=torch.int64),
    "bool": torch.zeros(12, 1, 2, 2, dtype=torch.bool),
    "complex": torch.zeros(12, 1, 2, 2, dtype=torch.complex64),
    "no values": torch.empty(12, 1, 2, 2, device="meta"),
    "sparse": torch.zeros(12, 1, 2, 2).to_sparse(),
    "NaN": torch.full((12, 1, 2, 2), math.nan),
    "ragged": [[[[0.1]]], [[[0.1, 0.2]]]],
}


@pytest.mark.parametrize("case", NO_IMAGES)
def test_images(case: str) -> None:
    images = NO_IMAGES[case]
    for call in (audit, offsets):
        with pytest.raises(InputError):
            call(images=images)
    if case not in ("NaN", "none"):
        with pytest.raises(InputError, match="images"):
            audit(train_images=images)


class Source:
    """A store of 12 images that returns what `made` makes of an index."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        self.made = made

    def __len__(self) -> int:
        return 12

    def fetch(self, index: Tensor) -> Any:
        return self.made(index)


@pytest.mark.parametrize(
    "made",
    [
        lambda index: None,
        lambda index: np.zeros((len(index), 1, 2, 2), np.float32),
        lambda index: torch.rand(1, 1, 2, 2),
        lambda index: torch.rand(len(index), 2, 2),
        lambda index: torch.rand(len(index), 1, 2, 0),
        lambda index: torch.zeros(len(index), 1, 2, 2, dtype=torch.uint8),
        lambda index: torch.zeros(len(index), 1, 2, 2).to_sparse(),
    ],
)
def test_a_store_that_returns_no_images(made: Callable[[Tensor], Any]) -> None:
    with pytest.raises(InputError, match="fetched batch"):
        audit(images=Source(made))


def test_a_store_without_a_length() -> None:
    class Endless:
        def fetch(self, index: Tensor) -> Tensor:
            return torch.rand(len(index), 1, 2, 2)

    for argument in ("images", "train_images"):
        with pytest.raises(InputError, match=f"{argument} has fetch but no length"):
            audit(**{argument: Endless()})


class Net(nn.Module):
    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.made, self.linear = made, nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Any:
        return self.made(self.linear(images.flatten(1)))


@pytest.mark.parametrize(
    "made",
    [
        lambda logits: logits[:, :1].expand(-1, 33_000),
        lambda logits: logits[:, :1],
        lambda logits: logits[:, :0],
        lambda logits: None,
        lambda logits: (logits,),
        lambda logits: {"logits": logits},
        lambda logits: logits.detach().numpy(),
        lambda logits: logits[0],
        lambda logits: logits * math.nan,
        lambda logits: torch.empty(logits.shape, device="meta"),
        lambda logits: logits.to(torch.complex64),
        lambda logits: logits.to_sparse(),
        lambda logits: logits.long(),
        lambda logits: logits > 0,
    ],
)
def test_a_model_that_returns_no_logits(made: Callable[[Tensor], Any]) -> None:
    for call in (audit, offsets):
        with pytest.raises(InputError, match="the model"):
            call(model=Net(made))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3, device="meta")),
        nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double(),
        nn.Sequential(nn.Flatten(), nn.Linear(5, 3)),
    ],
)
def test_a_model_that_cannot_be_called(model: nn.Module) -> None:
    for call in (audit, offsets):
        with pytest.raises(InputError, match="the model"):
            call(model=model)


@pytest.mark.parametrize(
    "groups",
    [
        {"camera": ["A"]},
        {5: ["A", "B"] * 6},
        {"": ["A", "B"] * 6},
        {"camera": None},
        {"camera": 5},
        {"camera": "abcdefghijkl"},
        {"camera": {"A": 1}},
        {"camera": [["A"]] * 12},
        {"camera": [np.zeros(3)] * 12},
        {"camera": torch.zeros(12, 2)},
        {"camera": torch.tensor(1)},
        {"camera": [math.nan] * 12},
        {"camera": ["\ud800", "B"] * 6},
        {"\ud800": ["A", "B"] * 6},
        ["camera"],
        [1, 2],
    ],
)
def test_groups(groups: Any) -> None:
    with pytest.raises(InputError, match="group"):
        audit(groups=groups)


def test_groups_in_a_tensor_are_named_by_their_numbers() -> None:
    assert [group.name for group in audit(groups={"camera": LABELS}).groups["camera"]["all"].classes] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "classes",
    [
        ["a", "a", "b"],
        ["a", "b", "\ud800"],
        ["a", "b"],
        ["a", ["b"], "c"],
        ["a", None, "c"],
        [],
        {"a": 0, "b": 1, "c": 2},
        [str(number) for number in range(40_000)],
    ],
)
def test_classes(classes: Any) -> None:
    with pytest.raises(InputError, match="class"):
        audit(classes=classes)


ENDLESS: dict[str, Any] = {}
ENDLESS["a"] = ENDLESS
DEEP: dict[str, Any] = {}
for _ in range(5000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize("argument", ["model_record", "data_record"])
@pytest.mark.parametrize(
    "record",
    [ENDLESS, DEEP, {"a": math.nan}, {(1, 2): 3}, {"name": "\ud800"}, [("a", 1)]],
    ids=["endless", "deep", "NaN", "a tuple", "no UTF-8", "a list"],
)
def test_a_record_that_no_json_holds(argument: str, record: Any, tmp_path: Path) -> None:
    """It is refused before the audit, whose result could not be written."""
    with pytest.raises(InputError, match=argument):
        audit(**{argument: record}, out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_numbers_of_numpy_are_written(tmp_path: Path) -> None:
    settings = {"seed": np.int64(1), "block_size": np.int32(5), "limit": np.int8(9), "level": np.float32(0.9)}
    result = audit(**settings, epsilon=np.float32(0.1), out=tmp_path)
    assert (result.seed, result.block_size, result.data["n"]) == (1, 5, 9)
    assert (tmp_path / "audit.json").exists()


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_labels_of_any_width(kind: str) -> None:
    tensor, array = LABELS.to(getattr(torch, kind)), LABELS.numpy().astype(kind)
    for labels in (tensor, array, array.astype(array.dtype.newbyteorder(">")), array[::-1][::-1], array[:, None]):
        assert (audit(labels=labels).verdicts.label == LABELS.numpy()).all()
        torch.testing.assert_close(offsets(labels=labels), offsets())
