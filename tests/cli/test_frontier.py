"""`faal repair --frontier`: from the command to blends that `faal audit` takes, and what is rejected before
training."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Faal
from tests.conftest import toy_data

from faal import checkpoint
from faal.models import Architecture, build_model

DATA = toy_data([200] * 3)
SHORT = ("--epochs", "1", "--steps", "1", "--batch-size", "200", "--select-attack", "pgd1", "--device", "cpu")


@pytest.fixture
def desk(work: Path) -> Path:
    """A folder with a base and its data."""
    parts = {}
    for name, split in {"train": DATA.train, "test": DATA.test}.items():
        assert split is not None
        parts |= {f"x_{name}": split.images.fetch(torch.arange(split.n)).numpy(), f"y_{name}": split.labels.numpy()}
    np.savez(work / "toy.npz", **parts, classes=np.array(DATA.classes))
    architecture = Architecture(model="small", num_classes=3, channels=1, width=4)
    weights = build_model(architecture, seed=1).state_dict()
    recipe = {"epsilon": 0.1, "norm": "linf"}
    state = {"architecture": asdict(architecture), "classes": list(DATA.classes), "weights": weights, "recipe": recipe}
    checkpoint.save(work / "base.pt", state)
    return work


@pytest.mark.medium
def test_blends_from_the_command_line(desk: Path, faal: Faal) -> None:
    repair = ("repair", "base.pt", "debug", "--data", "npz:toy.npz", "--out", "mended", "--frontier", "--force", *SHORT)
    printed = faal(*repair).out
    assert "intervals, n = 60" in printed
    assert all(name in printed for name in ("base", "1/4", "blend-50.pt", "fine-tuned.pt"))
    found = json.loads((desk / "mended" / "frontier.json").read_text())
    assert found["base"]["path"] == "base.pt"
    # Share 0 is the base before the training, which changes its weights in place.
    quarter, after = (checkpoint.load(desk / "mended" / name)["weights"] for name in ("blend-25.pt", "fine-tuned.pt"))
    before = checkpoint.load(desk / "base.pt")["weights"]
    for name, tensor in quarter.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, 0.75 * before[name] + 0.25 * after[name], atol=1e-6)

    assert faal(*repair).status == 0  # nothing is trained or evaluated again
    assert json.loads((desk / "mended" / "frontier.json").read_text()) == found

    audit = ("audit", "mended/blend-50.pt", "--data", "npz:toy.npz", "--attacks", "pgd1", "--out", "audited")
    assert faal(*audit).status == 0
    assert (desk / "audited" / "audit.json").exists()


def test_nothing_is_trained_where_no_images_are_withheld(desk: Path, faal: Faal) -> None:
    arguments = ("repair", "base.pt", "debug", "--data", "npz:toy.npz", "--out", "mended", "--frontier")
    said = faal(*arguments, "--hold-out", "none", *SHORT)
    assert said.status == 2
    assert "--frontier" in said.err
    assert "none of toy are withheld" in said.err
    assert not (desk / "mended").exists()
