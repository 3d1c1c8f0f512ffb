"""The images that a network was trained on, along a chain of fine-tunes: a run notes when its base may have been
trained on the images that evaluate it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import toy_data
from tests.train.test_loop import CPU, records, run

from faal import checkpoint
from faal.audit.misuse.settings import selection_warnings
from faal.config import Recipe
from faal.data import DataSet, grouping
from faal.models import open_model
from faal.train.loop import train
from faal.train.notes import TRAINED_ON
from faal.train.outcome import Outcome


def repaired(base: Path, recipe: Recipe, data: DataSet, out: Path, **network: Any) -> tuple[Outcome, Path]:
    opened = open_model(base, data, **network)
    outcome = train(
        opened.net, opened.architecture, data, recipe, out=out, seed=2, device=CPU, quiet=True, origin=opened.record
    )
    return outcome, out


@pytest.mark.medium
def test_along_a_chain(recipe: Recipe, tmp_path: Path) -> None:
    data, other = toy_data([200] * 3), toy_data([201] * 3)
    short = recipe.replace({"epochs": 1, "steps": 1, "select_attack": "pgd1"}, source="test")
    none = short.replace({"hold_out": "none"}, source="test")
    run(short, data, tmp_path / "base")
    run(none, data, tmp_path / "greedy")
    torch.save(checkpoint.load(tmp_path / "base" / "best.pt")["weights"], tmp_path / "foreign.pt")
    network = {"model": "small", "width": recipe.width}

    clean, folder = repaired(tmp_path / "base", short, data, tmp_path / "1")
    assert clean.note is None
    assert repaired(folder, short, data, tmp_path / "2")[0].note is None
    assert repaired(folder, short, other, tmp_path / "3")[0].note == TRAINED_ON["select"]
    greedy, folder = repaired(tmp_path / "greedy", short, data, tmp_path / "4")
    assert greedy.note == TRAINED_ON["select"]
    assert records(folder)[-1] == {"event": "end", "notes": [TRAINED_ON["select"]]}
    assert TRAINED_ON["select"] not in str(repaired(tmp_path / "greedy", none, data, tmp_path / "5")[0].note)
    outcome, folder = repaired(tmp_path / "foreign.pt", short, data, tmp_path / "6", **network)
    assert outcome.note == TRAINED_ON["select"]
    assert repaired(folder, short, data, tmp_path / "7")[0].note == TRAINED_ON["select"]


def test_other_groups_withhold_other_images(recipe: Recipe, tmp_path: Path) -> None:
    short = recipe.replace({"epochs": 1, "steps": 1, "select_attack": "pgd1"}, source="test")
    data = toy_data([200] * 3)
    assert data.train is not None
    halves = grouping("half", ["left", "right"] * 300)
    by_half = replace(data, train=replace(data.train, grouping=halves))
    run(short, data, tmp_path / "base")
    outcome, folder = repaired(tmp_path / "base", short, by_half, tmp_path / "1")
    assert outcome.note == TRAINED_ON["select"]
    assert repaired(folder, short, by_half, tmp_path / "2")[0].note == TRAINED_ON["select"]


@pytest.mark.medium
def test_the_images_that_a_method_steers_by(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([200] * 3)
    short = recipe.replace({"epochs": 1, "steps": 1, "select_attack": "pgd1", "method": "pgd-at"}, source="test")
    frl = short.replace({"method": "frl-rwrm"}, source="test")
    for hold_out, notes in (("select", TRAINED_ON["steer"]), ("both", None)):
        run(short.replace({"hold_out": hold_out}, source="test"), data, tmp_path / hold_out)
        assert repaired(tmp_path / hold_out, frl, data, tmp_path / f"{hold_out}-frl")[0].note == notes


@pytest.mark.medium
def test_a_choice_on_test_images_is_not_forgotten(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([200] * 3)
    short = recipe.replace({"epochs": 1, "steps": 1, "select_attack": "pgd1"}, source="test")
    run(short.replace({"select_on": "test"}, source="test"), data, tmp_path / "base")
    for start, out in (("base", "1"), ("1", "2")):
        repaired(tmp_path / start, short, data, tmp_path / out)
        (warning,) = selection_warnings(open_model(tmp_path / out, data).trained)
        assert "a base of this network" in warning
    run(short, data, tmp_path / "clean")
    assert selection_warnings(open_model(tmp_path / "clean", data).trained) == []
