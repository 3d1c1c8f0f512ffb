"""Invalid input: one sentence (what, where, what to do), status 2, nothing overwritten."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Faal, arrays, network

from faal import checkpoint


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


OWN = """
from torch import nn
def linear(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def truncated_cifar(folder: Path) -> None:
    base = folder / "cifar-10-batches-py"
    base.mkdir()
    content = pickle.dumps({b"data": np.zeros((10, 3072), np.uint8), b"labels": [0] * 10}, protocol=2)
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        (base / name).write_bytes(content[:200])
    (base / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a"] * 10}, protocol=2))


CASES = {
    "no data": (["train", "debug", "--data", "cifar10:nowhere"], "nowhere"),
    "truncated data": (["train", "debug", "--data", "cifar10:."], "data_batch_1"),
    "labels out of range": (["train", "debug", "--data", "npz:labels.npz"], "label"),
    "images outside [0, 1]": (["train", "debug", "--data", "npz:range.npz"], "255"),
    "wrong number of classes": (["audit", "net.pt", "--data", "npz:data.npz"], "10 classes"),
    "unknown data": (["train", "debug", "--data", "digit"], "did you mean 'digits'?"),
    "unknown recipe": (["train", "digits-small-fal-at", "--data", "digits"], "did you mean 'digits-small-faal-at'?"),
    "nesterov without momentum": (
        ["train", "debug", "--data", "digits", "--nesterov", "true", "--momentum", "0"],
        "momentum above 0",
    ),
    "a schedule in epochs": (["train", "debug", "--data", "digits", "--lr", "0:0.1,5:0.01"], "fractions of the run"),
    "no attack to select under": (
        ["train", "debug", "--data", "digits", "--select-attack", "autoattack"],
        "pgdK or cwK",
    ),
    "a recipe that is a list": (["train", "list.yaml", "--data", "digits"], "contains a list"),
    "our own checkpoint as foreign": (["audit", "net.pt", "--data", "digits", "--width", "4"], "leave out --width"),
    "a run that has not trained": (["audit", "empty", "--data", "digits"], "train there first"),
    "one's own network with a width": (
        ["train", "debug", "--data", "digits", "--model", "mynet:linear", "--width", "8"],
        "leave out these options",
    ),
    "a ball that a schedule leaves": (
        ["train", "digits-small-dro-cvar", "--data", "digits", "--tau", "0:0,1/2:1", "--out", "o"],
        "below 1, not 1.0",
    ),
    "unknown method": (["train", "debug", "--data", "digits", "--method", "trade"], "did you mean 'trades'?"),
    "unknown model": (["train", "debug", "--data", "digits", "--model", "prn-18"], "did you mean 'prn18'?"),
    "unknown key on the command line": (["train", "debug", "--data", "digits", "--epoch", "2"], "--epochs"),
    "unknown key in a recipe": (["train", "mine.yaml", "--data", "digits"], "did you mean 'epsilon'?"),
    "a number that is none": (["train", "debug", "--data", "digits", "--lr", "fast"], "lr is a number"),
    "epsilon in pixel levels": (["train", "debug", "--data", "digits", "--epsilon", "8"], "8/255"),
    "epsilon in pixel levels, audit": (["audit", "net.pt", "--data", "digits", "--epsilon", "8"], "8/255"),
    "unknown attack": (["audit", "net.pt", "--data", "digits", "--attacks", "autoatack"], "did you mean 'autoattack'?"),
    "unknown norm, before the data is read": (["audit", "net.pt", "--data", "npz:none", "--norm", "l7"], "no norm"),
    "unknown engine, before the data is read": (
        ["audit", "net.pt", "--data", "npz:none", "--engine", "fats"],
        "did you mean 'fast'?",
    ),
    "another norm without its radius": (
        ["train", "debug", "--data", "digits", "--norm", "l2"],
        "--norm l2 requires --epsilon",
    ),
    "no checkpoint": (["audit", "gone.pt", "--data", "digits"], "gone.pt"),
    "another architecture": (["audit", "weights.pt", "--data", "digits", "--model", "prn18"], "weights.pt"),
    "foreign weights, no network named": (["audit", "weights.pt", "--data", "digits"], "--model"),
    "a checkpoint that would run code": (["audit", "evil.pt", "--data", "digits"], "run code"),
    "a cut checkpoint": (["audit", "cut.pt", "--data", "digits"], "cut"),
    "a folder that cannot be written": (["train", "debug", "--data", "digits", "--out", "file/run"], "--out"),
    "a NaN loss": (["train", "debug", "--data", "digits", "--lr", "1e30", "--log-every", "1"], "diverged"),
    "no such device": (["train", "debug", "--data", "digits", "--device", "tpu"], "auto, cpu or cuda"),
    "a size that is none": (["train", "debug", "--data", "digits", "--size", "big"], "H,W"),
    "nothing to report": (["report"], "at least one"),
    "an unaudited folder": (["report", "."], "audit"),
    "a comparison without names": (["compare", "a", "b"], "NAME=DIR"),
    "an unknown command": (["adit"], "audit"),
}


@pytest.fixture
def desk(work: Path) -> Path:
    """A folder with all files of the cases."""
    arrays(work)
    (work / "labels.npz").write_bytes(arrays(work, y_train=np.arange(30) - 1).read_bytes())
    (work / "range.npz").write_bytes(arrays(work, x_train=np.full((30, 8, 8), 200.0)).read_bytes())
    arrays(work)
    net = network(work)
    torch.save(checkpoint.load(net)["weights"], work / "weights.pt")
    torch.save({"weights": Evil()}, work / "evil.pt")
    (work / "cut.pt").write_bytes(net.read_bytes()[:500])
    (work / "mine.yaml").write_text("epsilom: 8/255\n")
    (work / "list.yaml").write_text("- epochs\n")
    (work / "empty").mkdir()
    (work / "mynet.py").write_text(OWN)
    (work / "file").write_text("in the way")
    truncated_cifar(work)
    return work


@pytest.mark.medium
@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_status_2(case: str, desk: Path, faal: Faal) -> None:
    arguments, message = CASES[case]
    before = {path: path.read_bytes() for path in desk.rglob("*") if path.is_file()}
    said = faal(*arguments)
    assert said.status == 2
    assert message in said.err
    assert not (desk / "pwned").exists()
    assert all(path.read_bytes() == content for path, content in before.items())


def test_ones_own_network_drops_the_size_in_the_recipe(desk: Path, faal: Faal) -> None:
    """The recipe's width is that of the small network; a function sets its own."""
    said = faal("train", "debug", "--data", "digits", "--model", "mynet:linear", "--epochs", "1", "--out", "o")
    assert said.status == 0, said.err
    assert checkpoint.load(desk / "o" / "best.pt")["architecture"]["width"] is None


@pytest.mark.medium
def test_the_epsilon_that_is_assumed_for_foreign_weights_is_stated(desk: Path, faal: Faal) -> None:
    arguments = ("--data", "digits", "--model", "small", "--width", "4", "--attacks", "clean", "--limit", "20")
    said = faal("audit", "weights.pt", *arguments)
    assert said.status == 0, said.err
    assumed = "The checkpoint does not record the threat of its training; linf epsilon 8/255 is assumed."
    assert assumed in " ".join(said.err.split())
    (folder,) = (desk / "runs").glob("audit-weights-*")
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["warnings"][0] == assumed
    assert audit["data"]["image_size"] == [8, 8]
    assert "is assumed" not in faal("audit", "weights.pt", *arguments, "--epsilon", "0.1", "--out", "o").err


def test_a_run_into_the_folder_of_an_audit_is_refused(desk: Path, faal: Faal) -> None:
    """Its best.pt would lie beside the figures of another network."""
    (desk / "o").mkdir()
    (desk / "o" / "audit.json").write_text("{}")
    said = faal("train", "debug", "--data", "digits", "--epochs", "1", "--out", "o")
    assert said.status == 2
    (error,) = [line for line in said.err.splitlines() if line.startswith("faal: o ")]
    assert "audit" in error
    assert [path.name for path in (desk / "o").iterdir()] == ["audit.json"]


def test_a_file_without_permission(desk: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission, whatever file a command opens."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "o/config.yaml")

    monkeypatch.setattr("faal.train.folder.describe", refuse)
    said = faal("train", "debug", "--data", "digits", "--epochs", "1", "--out", "o")
    assert said.status == 2
    assert said.err.splitlines()[-1].startswith("faal: o/config.yaml may not be read or written")


def test_a_full_device(desk: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("faal.train.loop.train_step", full)
    said = faal("train", "debug", "--data", "digits", "--epochs", "1", "--out", "o")
    assert (said.status, said.out) == (2, "")
    assert "the device is out of memory; use a smaller --batch-size, or another --device" in said.err
