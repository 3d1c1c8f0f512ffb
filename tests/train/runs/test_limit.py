"""A limit on the training images: what is drawn, what stays withheld, and what a run records of it."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml
from tests.conftest import toy_data
from tests.train.runs.test_provenance import repaired
from tests.train.test_loop import CPU, records, run

from faal import checkpoint
from faal.config import Recipe
from faal.data import DataSet, grouping
from faal.errors import InputError
from faal.methods import METHODS
from faal.train.notes import TRAINED_ON
from faal.train.parts import Parts, parts_of

COUNTS = [200, 250, 600]


def parts(recipe: Recipe, limit: int | None, *, data: DataSet | None = None, seed: int = 1, **settings: str) -> Parts:
    changed = recipe.replace({"limit": limit, **settings}, source="test")
    return parts_of(data or toy_data(COUNTS), changed, steers=True, device=CPU, seed=seed)


def drawn(found: Parts) -> set[int]:
    return set(found.train.tolist())


def test_what_is_withheld_depends_neither_on_the_limit_nor_on_the_seed(recipe: Recipe) -> None:
    whole = parts(recipe, None)
    for limit, seed in ((90, 1), (90, 2), (400, 1)):
        found = parts(recipe, limit, seed=seed)
        assert torch.equal(found.select_index, whole.select_index)
        assert torch.equal(found.steer_index, whole.steer_index)
        assert found.digests("data") == whole.digests("data")
        assert len(found.train) == limit
        assert drawn(found) < drawn(whole)


def test_which_images_are_drawn(recipe: Recipe) -> None:
    """Each class in proportion to its images that are not withheld (160, 210 and 552); by the seed; nested."""
    found = parts(recipe, 92)
    counts = torch.bincount(found.full.labels[found.train])
    assert (counts - torch.tensor([160, 210, 552]) / 10).abs().max() <= 1
    assert drawn(found) == drawn(parts(recipe, 92)) < drawn(parts(recipe, 300))
    assert drawn(found) != drawn(parts(recipe, 92, seed=2))
    assert found.notes == ("Trained on 92 of 922 training images, drawn by class with seed 1",)


@pytest.mark.parametrize("limit", [922, 5000])
def test_a_limit_that_takes_all(recipe: Recipe, limit: int) -> None:
    found, whole = parts(recipe, limit), parts(recipe, None)
    assert torch.equal(found.train, whole.train)
    assert found.notes == whole.notes == ()


def test_every_group_of_every_class_in_proportion(recipe: Recipe) -> None:
    """Two classes of 300, of which camera B took a tenth: 6 of 60 images of each class are its own."""
    data = toy_data([300, 300])
    assert data.train is not None
    cameras = grouping("camera", ["B" if place % 10 == 0 else "A" for place in range(600)])
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, grouping=cameras))
    found = parts(recipe, 120, data=data, hold_out="none")
    pairs = 2 * found.full.labels[found.train] + found.full.groups[found.train]
    assert torch.bincount(pairs).tolist() == [54, 6, 54, 6]


def test_a_limit_that_leaves_a_class_out(recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"none of class 'class\d'; raise --limit"):
        parts(recipe, 2)
    with pytest.raises(InputError, match="limit is at least 1"):
        parts(recipe, 0)


def test_a_method_steers_by_images_of_the_limit(recipe: Recipe) -> None:
    found = parts(recipe, 90, hold_out="none")
    assert found.steer.n == 90
    assert torch.equal(found.steer.labels, found.full.labels[found.train])


def test_a_run_records_its_limit_and_is_another_with_another(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    outcome = run(recipe.replace({"limit": 24}, source="test"), data, tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["recipe"]["limit"] == 24
    assert checkpoint.load(outcome.best)["recipe"]["limit"] == 24
    assert "Trained on 24 of 48 training images" in str(outcome.note)
    assert any("Trained on 24 of 48" in note for note in records(tmp_path)[-1]["notes"])
    batches = [row for row in records(tmp_path) if row["event"] == "batch"]
    assert len(batches) == recipe.epochs * -(-24 // recipe.batch_size)
    for other in (None, 25):
        with pytest.raises(InputError, match=r"recipe\.limit is 24 there"):
            run(recipe.replace({"limit": other}, source="test"), data, tmp_path)


def test_a_run_from_before_there_was_a_limit_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del config["recipe"]["limit"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    written = json.dumps(records(tmp_path))
    run(recipe, data, tmp_path)
    assert json.dumps(records(tmp_path)) == written


def test_a_repair_of_another_part_chooses_on_images_that_are_new_to_its_base(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([200] * 3)
    short = recipe.replace({"epochs": 1, "steps": 1, "select_attack": "pgd1", "limit": 60}, source="test")
    run(short, data, tmp_path / "base")
    for limit in (None, 90):
        other = short.replace({"limit": limit}, source="test")
        outcome, _ = repaired(tmp_path / "base", other, data, tmp_path / str(limit))
        assert TRAINED_ON["select"] not in str(outcome.note)


def test_a_limit_is_none_of_a_methods_constants(recipe: Recipe) -> None:
    """FRL has a constant of this name, for its multipliers."""
    frl = recipe.replace({"method": "frl-rw", "limit": 90, "constants": "limit=0.3"}, source="test")
    rule = METHODS["frl-rw"].make_rule(frl, torch.tensor(COUNTS))
    assert vars(rule)["limit"] == 0.3
    default = METHODS["frl-rw"].make_rule(Recipe(method="frl-rw", limit=90), torch.tensor(COUNTS))
    assert vars(default)["limit"] == 0.5
