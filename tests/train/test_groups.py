"""Training over groups other than the classes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from tests.conftest import TRAINED, toy_data, toy_split

from faal.config import Recipe
from faal.data import DataSet, Split, grouping
from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.methods import METHODS
from faal.models import Architecture, build_model
from faal.train.evaluate import evaluate
from faal.train.loop import train
from faal.train.parts import parts_of

CPU = torch.device("cpu")
CAMERAS = ("A", "B", "C")


def grouped(data: DataSet, values: list[str]) -> DataSet:
    assert data.train is not None
    return replace(data, train=replace(data.train, grouping=grouping("camera", values)))


def run(recipe: Recipe, data: DataSet, out: Path) -> None:
    architecture = Architecture(model="small", num_classes=data.num_classes, channels=1, width=recipe.width)
    net = build_model(architecture, seed=1)
    train(net, architecture, data, recipe, out=out, seed=1, device=CPU, quiet=True)


def batches(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == "batch"]


def test_faal_weighs_the_groups(recipe: Recipe, tmp_path: Path) -> None:
    """Three cameras, two classes: a weight for each camera; and groups that are the classes change nothing."""
    data = toy_data([18, 18])
    assert data.train is not None
    run(recipe, grouped(data, list("AABBCC" * 6)), tmp_path / "cameras")
    rows = batches(tmp_path / "cameras")
    assert all(len(row["weights"]) == 3 for row in rows)
    assert any(max(row["weights"]) > 1.05 * min(row["weights"]) for row in rows)
    config = yaml.safe_load((tmp_path / "cameras" / "config.yaml").read_text())
    assert (config["data"]["groups"]["name"], config["data"]["groups"]["names"]) == ("camera", ["A", "B", "C"])

    run(recipe, data, tmp_path / "classes")
    run(recipe, grouped(data, [str(label) for label in data.train.labels.tolist()]), tmp_path / "same")
    assert batches(tmp_path / "classes") == batches(tmp_path / "same")


def test_other_groups_are_another_run(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([18, 18])
    run(recipe, grouped(data, list("AABBCC" * 6)), tmp_path)
    with pytest.raises(InputError, match="contains another run"):
        run(recipe, grouped(data, list("ABCABC" * 6)), tmp_path)


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_weighs_groups_or_says_that_it_cannot(name: str, recipe: Recipe, tmp_path: Path) -> None:
    data = grouped(toy_data([18, 18]), list("AABBCC" * 6))
    recipe = replace(recipe, method=name, epochs=1, steps=1)
    if not METHODS[name].rule.any_groups:
        with pytest.raises(InputError, match=f"{name} .*: .*faal-at.*group-dro"):
            run(recipe, data, tmp_path)
        return
    run(recipe, data, tmp_path)
    assert all(len(row["weights"]) == 3 for row in batches(tmp_path))


def test_a_group_without_images(recipe: Recipe) -> None:
    data = grouped(toy_data([18, 18]), list("AABBCC" * 6))
    assert data.train is not None
    data = replace(data, train=data.train.take((data.train.groups != 1).nonzero().squeeze(1)))
    with pytest.raises(InputError, match="group 'B'"):
        parts_of(data, recipe, steers=False, device=CPU)


def test_the_epoch_is_chosen_by_the_groups(recipe: Recipe) -> None:
    """The withheld part takes its 4 % of every group, and its evaluation is by group."""
    data = toy_data([300, 600])
    assert data.train is not None
    values = ["A" if place % 3 else "B" for place in range(900)]
    data = grouped(data, values)
    parts = parts_of(data, recipe, steers=False, device=CPU)
    assert parts.select.groups.bincount().tolist() == [24, 20]
    request = EvaluationRequest(part="steer", loss="cw", steps=1)
    net = build_model(Architecture(model="small", num_classes=2, channels=1, width=4), seed=0)
    numerics = Numerics.choose("float32", CPU)
    found = evaluate(net, parts.select, request, num_classes=2, threat=recipe.threat, seed=0, numerics=numerics)
    assert found.counts.tolist() == [24, 20]
    one = parts.select.take((parts.select.groups == 1).nonzero().squeeze(1))
    alone = evaluate(
        net, replace(one, grouping=None), request, num_classes=2, threat=recipe.threat, seed=0, numerics=numerics
    )
    assert float(found.clean_error[1]) == pytest.approx(float(alone.overall(alone.clean_error)))


def test_a_split_keeps_its_groups() -> None:
    split = replace(toy_split([2, 2]), grouping=grouping("camera", list("ABBA")), files=("a", "b", "c", "d"))
    taken = split.take(torch.tensor([3, 1]))
    assert (taken.groups.tolist(), taken.files) == ([0, 1], ("d", "b"))
    assert split.to("cpu").groups is split.groups
    assert torch.equal(Split(split.images, split.labels).groups, split.labels)
