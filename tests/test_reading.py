"""Files without weights, or with more than weights: one sentence each, and no code runs."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from faal.errors import InputError
from faal.reading import read_tensors, weight_sets

WEIGHTS = {"a": torch.arange(1000.0), "b": torch.ones(2, 3)}


class Trap:
    """Unpickled by Python's own reader, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_pytorch_files(tmp_path: Path, zipped: bool) -> None:
    torch.save(WEIGHTS, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    content = read_tensors(tmp_path / "weights.pt")
    assert all(torch.equal(content[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_reads_safetensors_under_any_name(tmp_path: Path, name: str) -> None:
    save_file(WEIGHTS, tmp_path / name)
    content = read_tensors(tmp_path / name)
    assert all(torch.equal(content[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("how", ["zip", "legacy", "plain pickle", "old plain pickle"])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, how: str) -> None:
    path, target = tmp_path / "weights.pt", tmp_path / "trapped"
    content = {"state_dict": WEIGHTS, "extra": Trap(target)}
    if "pickle" in how:
        path.write_bytes(pickle.dumps(content, protocol=2 if how.startswith("old") else 4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    refused(path, "objects other than tensors.*can run code, and was not loaded; save its weights again")
    assert not target.exists()
    if how == "plain pickle":  # the trap works: Python's own reader runs it
        pickle.loads(path.read_bytes())
        assert target.exists()


def test_names_the_object_that_is_refused(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(lr=0.1), "state_dict": WEIGHTS}, tmp_path / "weights.pt")
    refused(tmp_path / "weights.pt", r"\(argparse.Namespace\)")


def test_a_module_is_not_loaded(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "torch.nn.modules.linear.Linear.*torch.save\\(model.state_dict\\(\\)")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_is_not_loaded(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.pt")
    refused(tmp_path / "script.pt", "objects other than tensors")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_cut_short(tmp_path: Path, zipped: bool, share: float) -> None:
    path = tmp_path / "weights.pt"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "truncated or damaged.*fetch or write it again")


@pytest.mark.parametrize("size", [20, 2000])
def test_safetensors_cut_short(tmp_path: Path, size: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:size])
    refused(path, "truncated or damaged")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><head>", "is a web page, not a checkpoint"),
        (b"\n  <html>virus scan warning", "is a web page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "pointer of Git LFS"),
        (b"", "is empty"),
        (b"\x93NUMPY\x01\x00", "neither a PyTorch checkpoint nor a safetensors file"),
        (b"just a text", "neither a PyTorch checkpoint nor a safetensors file"),
        (b"\x80", "truncated or damaged"),
        (b"PK\x03\x04 and no archive", "truncated or damaged"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    refused(tmp_path / "weights.pt", message)


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "weights.pt", "cannot read the checkpoint.*No such file")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "cannot read the checkpoint.*[Dd]irectory")


def test_weight_sets_are_found_at_any_depth() -> None:
    content = {"epoch": 3, "best": WEIGHTS["a"], "run": {"model": WEIGHTS, "notes": ["x"]}, "state": {}}
    assert {where: list(tensors) for where, tensors in weight_sets(content).items()} == {
        "": ["best"],
        "run.model": ["a", "b"],
    }
    assert weight_sets([1, 2]) == {}


def program(path: Path, pickled: bytes, name: str = "archive/data.pkl") -> Path:
    """A checkpoint in PyTorch's format whose pickle is `pickled`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pickled)
        archive.writestr("archive/version", "3\n")
    return path


TUPLES = b"\x80\x02}K\x01K\x01\x86" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(60)) + b"K\x01s."
DEEP = b"\x80\x02" + b"}K\x01" * 3000 + b"K\x01" + b"s" * 3000 + b"."


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/DATA.PKL"])
@pytest.mark.parametrize(("pickled", "message"), [(TUPLES, "expands to more"), (DEEP, "nested deeper")])
def test_objects_that_expand_or_nest(tmp_path: Path, pickled: bytes, message: str, name: str) -> None:
    refused(program(tmp_path / "weights.pt", pickled, name), message)


@pytest.mark.parametrize("place", range(3))
def test_objects_that_expand_in_the_older_format(tmp_path: Path, place: int) -> None:
    parts = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    (tmp_path / "weights.pt").write_bytes(b"".join(parts[:place]) + TUPLES)
    refused(tmp_path / "weights.pt", "expands to more")


def test_one_mapping_under_ever_more_names() -> None:
    content: dict[str, object] = dict(WEIGHTS)
    for _ in range(20):
        content = {"a": content, "b": content}
    with pytest.raises(InputError, match="10,000 mappings"):
        weight_sets(content)
