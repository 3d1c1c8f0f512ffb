"""Every row of the method table, end to end: two epochs on toy data at 2, 10 and 100 classes."""

import math
from pathlib import Path

import pytest
import torch
from tests.conftest import TRAINED, toy_data
from tests.train.test_loop import records, same

from faal import checkpoint
from faal.config import Recipe
from faal.models import Architecture, build_model
from faal.train import loop
from faal.train.loop import train

SIZES = {2: [9, 7], 10: [5] * 10, 100: [1] * 100}
"""Images of each class. With batches of 8 there are batches without some class, at 2 classes too."""


class StoppedError(Exception):
    """The end of the process."""


def run(recipe: Recipe, classes: int, out: Path) -> dict:
    data = toy_data(SIZES[classes])
    architecture = Architecture(model="small", num_classes=classes, channels=1, width=4)
    net = build_model(architecture, seed=1)
    train(net, architecture, data, recipe, out=out, seed=1, device=torch.device("cpu"), quiet=True)
    return checkpoint.load(out / "last.pt")


@pytest.mark.medium
@pytest.mark.parametrize("classes", SIZES)
@pytest.mark.parametrize("name", TRAINED)
def test_finite_deterministic_and_resumed_exactly(
    name: str, classes: int, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its second epoch and started again, a run equals the unbroken one: weights, optimiser, rule, average
    and log."""
    settings = {"method": name, "epochs": 2, "batch_size": 8, "average": "gated", "checkpoint_every": 0}
    recipe = recipe.replace(settings | {"lr": "0:0.05,1/2:0.01", "tau": 0.4, "log_every": 1}, source="test")
    whole = run(recipe, classes, tmp_path / "whole")
    assert all(bool(weight.isfinite().all()) for weight in whole["weights"].values() if weight.is_floating_point())
    rows = [row for row in records(tmp_path / "whole") if row["event"] == "batch"]
    assert all(math.isfinite(row["loss"]) and all(map(math.isfinite, row["weights"])) for row in rows)
    steps = len(rows)
    assert steps == 2 * math.ceil(sum(SIZES[classes]) / 8)

    real, left = loop.train_step, iter(range(steps // 2 + 1))

    def stops(*arguments: object) -> object:
        if next(left, None) is None:
            raise StoppedError
        return real(*arguments)

    monkeypatch.setattr(loop, "train_step", stops)
    with pytest.raises(StoppedError):
        run(recipe, classes, tmp_path / "broken")
    monkeypatch.setattr(loop, "train_step", real)
    broken = run(recipe, classes, tmp_path / "broken")
    assert same(whole["weights"], broken["weights"])
    for part in ("optimizer", "rule", "average"):
        assert same(whole["training"][part], broken["training"][part]), part
    assert rows == [row for row in records(tmp_path / "broken") if row["event"] == "batch"]
