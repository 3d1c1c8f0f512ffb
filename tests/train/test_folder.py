"""The files of a folder that a run would overwrite."""

from pathlib import Path

import pytest
import yaml
from tests.conftest import toy_data
from tests.train.test_loop import run

from faal import checkpoint
from faal.config import Recipe
from faal.errors import InputError
from faal.train.folder import CONFIG, FILES


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", [CONFIG, *FILES])
def test_a_foreign_file_is_refused_before_anything_is_written(name: str, recipe: Recipe, tmp_path: Path) -> None:
    """As one downloads a best.pt, or has a config.yaml of another program."""
    (tmp_path / name).write_bytes(b"foreign")
    with pytest.raises(InputError, match=rf"{tmp_path} contains .*; choose another folder with --out"):
        run(recipe, toy_data([12] * 4), tmp_path)
    assert content(tmp_path) == {name: b"foreign"}


@pytest.mark.parametrize("keep", [{"best.pt"}, {"best.pt", CONFIG}, {"best.pt", CONFIG, "metrics.jsonl"}, {"last.pt"}])
def test_a_part_of_another_runs_folder(keep: set[str], recipe: Recipe, tmp_path: Path) -> None:
    """Even of a run with the same settings: the result would be the same, the file that was downloaded may differ."""
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    for path in tmp_path.iterdir():
        if path.is_file() and path.name not in keep:
            path.unlink()
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"(best|last)\.pt from which this run cannot continue"):
        run(recipe, data, tmp_path)
    assert content(tmp_path) == before


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(recipe: Recipe, tmp_path: Path) -> None:
    """best.pt is written just before the first last.pt."""
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    whole = checkpoint.load(tmp_path / "best.pt")["weights"]
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).unlink()
    log = tmp_path / "metrics.jsonl"
    log.write_text(log.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match=r"best\.pt"):
        run(recipe.replace({"lr": 0.07}, source="test"), data, tmp_path)
    run(recipe, data, tmp_path)
    assert all(tensor.equal(whole[name]) for name, tensor in checkpoint.load(tmp_path / "best.pt")["weights"].items())


def test_a_configuration_alone_may_be_replaced(recipe: Recipe, tmp_path: Path) -> None:
    """Of a run that trained nothing."""
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    for path in tmp_path.iterdir():
        if path.is_file() and path.name not in (CONFIG, "environment.json"):
            path.unlink()
    run(recipe.replace({"lr": 0.07}, source="test"), data, tmp_path)
    assert yaml.safe_load((tmp_path / CONFIG).read_text())["recipe"]["lr"] == 0.07
