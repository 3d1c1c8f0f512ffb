"""The state that a run continues from: the last that is intact, and none that is not the run's own."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import toy_data

from faal import checkpoint
from faal.config import Recipe
from faal.errors import InputError
from faal.models import Architecture, build_model
from faal.train.loop import train
from faal.train.state import LatestState

CPU = torch.device("cpu")


def saved(folder: Path, *numbers: int) -> None:
    latest = LatestState(folder)
    for number in numbers:
        latest.save({"number": number, "training": {}})


def number_in(path: Path) -> int:
    return int(checkpoint.load(path)["number"])


def loaded(folder: Path) -> int:
    state = LatestState(folder).load()
    assert state is not None
    return int(state["number"])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def replace_by_network(path: Path) -> None:
    checkpoint.save(path, {"number": 9})


DAMAGES = [cut, flip, replace_by_network, lambda path: path.write_bytes(b"")]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert LatestState(tmp_path).load() is None
    assert list(tmp_path.iterdir()) == []


def test_two_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        saved(tmp_path, number)
        assert loaded(tmp_path) == number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]
    assert number_in(tmp_path / "previous.pt") == 2


def test_a_crash_between_two_checkpoints_loses_none(tmp_path: Path) -> None:
    saved(tmp_path, 5)
    (tmp_path / "last.pt").rename(tmp_path / "previous.pt")
    assert loaded(tmp_path) == 5


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_last_is_damaged_the_one_before_counts(
    tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, 0, 1)
    damage(tmp_path / "last.pt")
    latest = LatestState(tmp_path)
    state = latest.load()
    assert state is not None
    assert state["number"] == 0
    assert "last.pt" in (note := capsys.readouterr().err)
    assert "the run continues from previous.pt" in note
    latest.save({"number": 2, "training": {}})  # the intact one is not replaced by the damaged one
    assert [number_in(tmp_path / name) for name in ("previous.pt", "last.pt")] == [0, 2]
    latest.save({"number": 3, "training": {}})
    assert [number_in(tmp_path / name) for name in ("previous.pt", "last.pt")] == [2, 3]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("both", [True, False])
def test_nothing_is_begun_anew_where_none_is_intact(tmp_path: Path, damage: Any, both: bool) -> None:
    saved(tmp_path, *range(1 + both))
    for path in tmp_path.iterdir():
        damage(path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"last\.pt .*previous\.pt") as caught:
        LatestState(tmp_path).load()
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def run(recipe: Recipe, out: Path) -> None:
    architecture = Architecture(model="small", num_classes=4, channels=1, width=recipe.width)
    net = build_model(architecture, seed=1)
    train(net, architecture, toy_data([12] * 4), recipe, out=out, seed=1, device=CPU, quiet=True)


@pytest.mark.parametrize("name", ["last.pt", "metrics.jsonl"])
@pytest.mark.parametrize("begun", [True, False])
def test_a_folder_in_the_place_of_a_file(recipe: Recipe, tmp_path: Path, name: str, begun: bool) -> None:
    if begun:
        run(recipe, tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / name).mkdir(parents=True)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(InputError, match=name):
        run(recipe, tmp_path)
    assert begun is False or sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda training: training.pop("optimizer"),
        lambda training: training.update(net={}),
        lambda training: training.update(rule=3),
        lambda training: training["position"].update(step="x", other=1),
        lambda training: training.update(generators=[{}]),
        lambda training: training.update(generators=[{"cpu": torch.zeros(3)}]),
    ],
)
def test_another_runs_state_is_refused(recipe: Recipe, tmp_path: Path, change: Any) -> None:
    run(recipe, tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    change(state["training"])
    checkpoint.save(tmp_path / "last.pt", state)
    with pytest.raises(InputError, match="does not fit this run") as caught:
        run(recipe, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_never_changes_the_network(recipe: Recipe, tmp_path: Path) -> None:
    """Of a run that is continued: from previous.pt, one epoch more is trained."""
    run(recipe, tmp_path)
    last, rng = tmp_path / "last.pt", random.Random(0)
    intact, weights = last.read_bytes(), checkpoint.load(last)["weights"]
    for _ in range(3):
        content = bytearray(intact)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        last.write_bytes(content)
        run(recipe, tmp_path)
        found = checkpoint.load(last)["weights"]
        assert all(torch.equal(found[name], weights[name]) for name in weights)
        assert last.read_bytes() != bytes(content)


def test_a_log_that_was_cut_is_noted(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(recipe, tmp_path)
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:100])
    capsys.readouterr()
    run(recipe, tmp_path)
    assert "is shorter than when the run was saved" in capsys.readouterr().err
