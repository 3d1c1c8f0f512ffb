"""Data from a user's own function."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from faal.data import load_data
from faal.errors import InputError

MODULE = """
import numpy as np, torch
from faal.data import DataSet, InMemory, OnDisk, Split

X = torch.linspace(0, 1, 4 * 3 * 6 * 6).view(4, 3, 6, 6)

def tensors(): return {"x_test": X, "y_test": torch.tensor([0, 1, 0, 1])}
def arrays(n=4): return {"images": X.numpy()[:n], "labels": [0, 1, 0, 1], "classes": ["no", "yes"]}
def whole(): return DataSet("mine", ("no", "yes"), Split(InMemory(X), torch.tensor([0, 1, 1, 1])), None)
def too_bright(): return DataSet("mine", ("no", "yes"), None, Split(InMemory(X * 255), torch.tensor([0, 1, 1, 1])))
def mislabelled(): return DataSet("mine", ("no", "yes"), Split(InMemory(X), torch.tensor([0, 1, 2, 1])), None)
def nothing(): return DataSet("mine", ("no", "yes"), None, None)
def files(): return DataSet("mine", ("no", "yes"), Split(OnDisk(["a", "b"], (1, 6, 6)), torch.tensor([0, 1])), None)
def ragged(): return {"images": [[[0.0, 1.0], [0.0]]], "labels": [0]}
def needs(argument): return argument
def fails(): raise RuntimeError("no disk")
def text(): return "data"
constant = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file in the current folder, as a user would have it; Python itself does not search it."""
    (tmp_path / "ownpictures.py").write_text(MODULE)
    (tmp_path / "brokenpictures.py").write_text("import a_package_that_is_not_there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield
    for name in ("ownpictures", "brokenpictures"):
        sys.modules.pop(name, None)


def refused(spec: str, size: tuple[int, int] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_data(spec, size=size)
    return str(caught.value)


@pytest.mark.parametrize(("function", "classes"), [("tensors", ("0", "1")), ("arrays", ("no", "yes"))])
def test_arrays_by_name(function: str, classes: tuple[str, ...]) -> None:
    data = load_data(f"ownpictures:{function}")
    assert data.classes == classes
    assert data.test is not None
    expected = torch.linspace(0, 1, 4 * 3 * 6 * 6).view(4, 3, 6, 6)
    assert torch.equal(data.test.images.fetch(torch.arange(4)), expected)


def test_a_data_set() -> None:
    data = load_data("ownpictures:whole", size=(3, 3))
    assert data.name == "mine"
    assert data.train is not None
    assert data.train.images.shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ownpictures:gone", "has no function 'gone'"),
        ("ownpictures:constant", "has no function 'constant'"),
        ("ownpictures:needs", "it must work when called without arguments"),
        ("ownpictures:fails", "ownpictures:fails failed (RuntimeError: no disk)"),
        ("ownpictures:text", "ownpictures:text returned str; return a faal.data.DataSet"),
        ("ownpictures:too_bright", "images from 0 to 255; they must be in [0, 1]: divide by 255"),
        ("ownpictures:mislabelled", "(training part) has the label 2, out of range"),
        ("ownpictures:nothing", "contains neither training nor test images"),
        ("ownpictures:ragged", "images is ragged"),
        ("brokenpictures:any", "cannot import 'brokenpictures'"),
        ("modulethatisnotthere:load", "run from its folder, or install it"),
    ],
)
def test_what_is_said(spec: str, said: str) -> None:
    message = refused(spec)
    assert said in message
    assert spec.partition(":")[0] in message


def test_a_store_that_cannot_be_resized() -> None:
    assert "cannot be resized to 3x3" in refused("ownpictures:files", size=(3, 3))
