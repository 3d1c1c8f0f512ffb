"""The log of a run: how long its end may take, and the means per epoch of many classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import toy_data
from tests.train.test_loop import KilledError, records, run

from faal import checkpoint
from faal.config import Recipe
from faal.report.files.per_class import class_vectors
from faal.report.files.read import _training
from faal.step import StepResult
from faal.train import log as module
from faal.train import loop
from faal.train.log import Log

VECTORS = {"weights", "clean_weights", "sampling"}


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 4)


def of(rows: list[dict], event: str) -> list[dict]:
    return [row for row in rows if row["event"] == event]


def without(row: dict, *names: str) -> dict:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize("method", ["faal-at", "frl-rw", "cfol", "dafa"])
def test_an_epoch_has_the_means_of_its_batches(
    method: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.replace({"method": method, "epochs": 3, "hold_out": "both"}, source="test")
    rows = {}
    for name, limit in (("few", 5), ("many", 4)):
        monkeypatch.setattr(module, "MANY", limit)
        run(recipe, toy_data([12] * 4), tmp_path / name)
        rows[name] = records(tmp_path / name)
    batches, epochs = of(rows["few"], "batch"), of(rows["few"], "epoch")
    assert of(rows["many"], "batch") == [without(row, *VECTORS) for row in batches]
    for plain, found in zip(epochs, of(rows["many"], "epoch"), strict=True):
        assert without(found, "seconds", *VECTORS) == without(plain, "seconds")
        own = [row for row in batches if row["epoch"] == plain["epoch"]]
        for name in VECTORS:
            vectors = [row.get(name) or (row["weights"] if name == "clean_weights" else None) for row in own]
            if name in found:
                assert found[name] == pytest.approx(np.mean(vectors, axis=0), abs=1e-5)
            else:
                assert not any(name in row for row in own)
        assert set(found) & VECTORS >= {"weights"}


@pytest.mark.parametrize("kill_at", [2, 3, 5])
def test_a_killed_run_continues_its_means(
    kill_at: int, many: None, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = recipe.replace({"checkpoint_every": 0}, source="test"), toy_data([12] * 4)
    run(recipe, data, tmp_path / "whole")
    real, steps = loop.train_step, iter(range(100))

    def dies(*arguments: Any) -> StepResult:
        if next(steps) == kill_at:
            raise KilledError
        return real(*arguments)

    monkeypatch.setattr(loop, "train_step", dies)
    with pytest.raises(KilledError):
        run(recipe, data, tmp_path / "broken")
    monkeypatch.setattr(loop, "train_step", real)
    run(recipe, data, tmp_path / "broken")
    whole, broken = ([without(row, "seconds") for row in records(tmp_path / name)] for name in ("whole", "broken"))
    assert whole == broken


def test_of_few_classes_the_checkpoint_has_no_means(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe.replace({"checkpoint_every": 0}, source="test"), toy_data([12] * 4), tmp_path)
    for name in ("last.pt", "previous.pt"):
        assert "logged" not in checkpoint.load(tmp_path / name)["training"]["position"]


class Board:
    """In the place of TensorBoard's writer: what is added, in order."""

    def __init__(self) -> None:
        self.added: list[tuple[str, float, int]] = []

    def add_scalar(self, title: str, value: float, step: int) -> None:
        self.added.append((title, value, step))

    def close(self) -> None:
        pass


def test_tensorboard_has_the_largest_weight_of_every_batch(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = [Board(), Board()]
    for board, limit in zip(boards, (5, 4), strict=True):
        monkeypatch.setattr(module, "MANY", limit)
        monkeypatch.setattr(module, "_tensorboard", lambda *_, board=board: board)
        run(recipe, toy_data([12] * 4), tmp_path / str(limit))
    assert boards[0].added == boards[1].added
    assert any(title == "largest class weight" for title, *_ in boards[0].added)


def test_the_page_reads_the_means(many: None, recipe: Recipe, tmp_path: Path) -> None:
    run(recipe.replace({"method": "frl-rw", "epochs": 3, "hold_out": "both"}, source="test"),
        toy_data([12] * 4), tmp_path)  # fmt: skip
    training = _training(tmp_path / "metrics.jsonl", 4)
    assert training is not None
    found = list(class_vectors(training))
    assert {vectors.name for vectors in found} == {"robust_weights", "clean_weights"}
    for vectors in found:
        assert vectors.period == "epoch"
        assert vectors.at.tolist() == [0, 1, 2]
        assert vectors.values.shape == (3, 4)


def test_a_step_of_a_thousand_classes_takes_little(tmp_path: Path) -> None:
    weights = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    plain = StepResult(torch.tensor(1.0), weights, torch.tensor(0.5), clean_weights=weights, sampling=weights)
    with Log(tmp_path, every=20, title="run", steps=100, done=0, position=0, means={}, quiet=True) as log:
        for step in range(100):
            log.step(0, step, plain)
        assert log.position < 100 * 200
        log.epoch(0, {"lr": 0.1, "seconds": 1.0})
        assert log.means.state_dict() == {}
    (epoch,) = of([json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()], "epoch")
    assert epoch["weights"] == pytest.approx(weights.tolist(), abs=1e-5)
    assert "clean_weights" not in epoch


def test_tensorboard_holds_up_no_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an interrupt loses the wake-up of its thread, closing it waits for the next flush, by default 120 s."""
    board = pytest.importorskip("torch.utils.tensorboard")
    given: dict[str, Any] = {}

    class Writer:
        def __init__(self, folder: str, **settings: Any) -> None:
            given.update(settings)

        def close(self) -> None: ...

    monkeypatch.setattr(board, "SummaryWriter", Writer)
    with Log(tmp_path, every=1, title="run", steps=1, done=0, position=0, means={}, quiet=True):
        pass
    assert given["flush_secs"] <= 5
