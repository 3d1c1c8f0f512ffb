"""Runs that search offsets: the method alone, on top of another one, and repeated."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.conftest import toy_data
from tests.train.test_loop import records, same
from torch import Tensor, nn

from faal import checkpoint, load_model
from faal.config import Recipe
from faal.data import Split
from faal.errors import InputError
from faal.models import Architecture, build_model
from faal.models.offsets import Offset, without_offsets
from faal.train import offsets
from faal.train.loop import train
from faal.train.outcome import OffsetSearch, Outcome

CPU = torch.device("cpu")


def fitted(recipe: Recipe, **other: object) -> Recipe:
    return recipe.replace({"select_attack": "cw2", **other}, source="test")


class Biased(nn.Module):
    """Knows which pixel is bright in a class of the toy data, and prefers its last class."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, num_classes)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()
            for label in range(num_classes):
                self.linear.weight[label, label * 7 % 64] = 10
            self.linear.bias[-1] = 5

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


SMALL = Architecture(model="small", num_classes=2, channels=1, width=4)


def run(recipe: Recipe, counts: list[int], out: Path, *, net: nn.Module | None = None, **other: Any) -> Outcome:
    architecture = replace(SMALL, num_classes=len(counts))
    arguments = {"origin": {"path": "net.pt"}, "seed": 1, "device": CPU, "quiet": True} | other
    return train(net or Biased(len(counts)), architecture, toy_data(counts), recipe, out=out, **arguments)


def test_the_method_trains_nothing(recipe: Recipe, tmp_path: Path) -> None:
    outcome = run(fitted(recipe, method="offsets"), [200] * 3, tmp_path)
    state = checkpoint.load(tmp_path / "best.pt")
    assert same(without_offsets(state["weights"]), dict(Biased(3).state_dict()))
    assert state["architecture"]["offsets"] is True
    assert state["origin"] == {"path": "net.pt"}
    assert outcome.epoch is None
    assert outcome.offsets is not None
    assert tuple(state["weights"]["offsets"].tolist()) == outcome.offsets.after.offsets
    assert outcome.offsets.after.accuracy.worst > outcome.offsets.before.accuracy.worst
    events = [row for row in records(tmp_path) if row["event"] == "offsets"]
    assert [row["evaluation"] for row in events] == list(range(len(events)))
    assert events[0]["offsets"] == [0, 0, 0]
    assert json.loads(json.dumps(asdict(outcome.offsets.before)))["by_class"] == events[0]["by_class"]
    assert {"config.yaml", "environment.json", "last.pt"} <= {path.name for path in tmp_path.iterdir()}


def test_it_needs_a_trained_network(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a trained network"):
        run(fitted(recipe, method="offsets"), [200] * 3, tmp_path / "run", origin=None)
    assert not (tmp_path / "run").exists()


def test_never_on_test_images(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="never chosen on test images"):
        run(fitted(recipe, method="offsets", select_on="test"), [200] * 2, tmp_path / "a")
    used: list[int] = []
    real = offsets.search

    def spied(net: Offset, split: Split, *arguments: Any, **other: Any) -> OffsetSearch:
        used.append(split.n)
        return real(net, split, *arguments, **other)

    monkeypatch.setattr(offsets, "search", spied)
    run(fitted(recipe, offsets=True, select_on="test", epochs=1), [200] * 2, tmp_path / "b")
    assert used == [40]  # 20 of each class, withheld from training; the epoch was chosen on 20 test images


def test_where_no_image_can_be_withheld(recipe: Recipe, tmp_path: Path) -> None:
    outcome = run(fitted(recipe, method="offsets"), [30] * 2, tmp_path)
    assert outcome.offsets is not None
    assert outcome.offsets.images == 60
    assert outcome.note is not None
    assert outcome.note.startswith("No image was withheld to choose the offsets on: they were chosen on 60 training")
    assert "last epoch" not in outcome.note


@pytest.mark.medium
@pytest.mark.parametrize("settings", [{"method": "offsets"}, {"offsets": True}, {"offsets": True, "average": "epoch"}])
def test_killed_and_repeated_it_is_the_same(
    settings: dict[str, Any], recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = fitted(recipe, epochs=1, **settings)

    def again(recipe: Recipe, out: Path) -> Outcome:
        return run(recipe, [200] * 2, out, net=Biased(2) if recipe.method == "offsets" else build_model(SMALL, seed=1))

    first = again(recipe, tmp_path / "whole")
    whole, log = (tmp_path / "whole" / "best.pt").read_bytes(), timeless(records(tmp_path / "whole"))
    stamp = (tmp_path / "whole" / "best.pt").stat().st_mtime_ns
    with monkeypatch.context() as nothing:  # a finished run is not searched again
        nothing.setattr(offsets, "evaluate", None)
        repeated = again(recipe, tmp_path / "whole")
    assert repeated == first
    assert (tmp_path / "whole" / "best.pt").stat().st_mtime_ns == stamp
    assert (tmp_path / "whole" / "best.pt").read_bytes() == whole
    assert timeless(records(tmp_path / "whole")) == log

    real, left = offsets.evaluate, iter(range(3))

    def stops(*arguments: Any, **other: Any) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*arguments, **other)

    monkeypatch.setattr(offsets, "evaluate", stops)
    with pytest.raises(KeyboardInterrupt):
        again(recipe, tmp_path / "broken")
    monkeypatch.setattr(offsets, "evaluate", real)
    again(recipe, tmp_path / "broken")
    whole_end, broken_end = (checkpoint.load(tmp_path / name / "best.pt") for name in ("whole", "broken"))
    assert same(whole_end, broken_end)
    assert timeless(records(tmp_path / "broken")) == log
    with pytest.raises(InputError, match="contains another run"):
        again(recipe.replace({"select_attack": "cw3"}, source="test"), tmp_path / "whole")


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.medium
def test_on_top_of_a_method_they_are_for_the_epoch_that_was_chosen(recipe: Recipe, tmp_path: Path) -> None:
    plain, more = fitted(recipe, select="worst"), fitted(recipe, select="worst", offsets=True)
    run(plain, [200] * 2, tmp_path / "plain", net=build_model(SMALL, seed=1))
    outcome = run(more, [200] * 2, tmp_path / "more", net=build_model(SMALL, seed=1))
    with_offsets, plain_end = (checkpoint.load(tmp_path / name / "best.pt") for name in ("more", "plain"))
    assert same(without_offsets(with_offsets["weights"]), plain_end["weights"])
    assert with_offsets["epoch"] == plain_end["epoch"] == outcome.epoch
    assert outcome.offsets is not None
    chosen = [row["select"] for row in records(tmp_path / "plain") if row["event"] == "epoch"][plain_end["epoch"]]
    assert asdict(outcome.offsets.before.accuracy) == chosen
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(load_model(tmp_path / "more").net(images), load_model(tmp_path / "plain")(images))


def test_a_fine_tune_leaves_offsets_alone_and_the_search_goes_on_from_them(recipe: Recipe, tmp_path: Path) -> None:
    architecture = replace(SMALL, offsets=True)
    for name, extra in (("tuned", {}), ("more", {"offsets": True, "average": "step"})):
        net = Offset(Biased(2), torch.tensor([0.25, -0.25]))
        chosen = fitted(recipe, epochs=1, **extra)
        for _ in range(2):
            train(net, architecture, toy_data([200] * 2), chosen, out=tmp_path / name, seed=1, device=CPU, quiet=True)
    tuned = checkpoint.load(tmp_path / "tuned" / "best.pt")
    assert tuned["weights"]["offsets"].tolist() == [0.25, -0.25]
    assert not same(without_offsets(tuned["weights"]), dict(Biased(2).state_dict()))
    first = next(row for row in records(tmp_path / "more") if row["event"] == "offsets")
    assert first["offsets"] == [0.25, -0.25]


def test_a_run_of_a_version_without_offsets_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe, [12] * 2, tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del config["recipe"]["offsets"], config["architecture"]["offsets"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run(recipe, [12] * 2, tmp_path)
    with pytest.raises(InputError, match="contains another run"):
        run(recipe.replace({"offsets": True}, source="test"), [12] * 2, tmp_path)


@pytest.mark.parametrize("damage", ["end", "offsets", "best"])
def test_a_run_whose_files_are_incomplete_is_searched_again(damage: str, recipe: Recipe, tmp_path: Path) -> None:
    chosen = fitted(recipe, method="offsets")
    first = run(chosen, [200] * 3, tmp_path)
    log, weights = tmp_path / "metrics.jsonl", checkpoint.load(tmp_path / "best.pt")["weights"]
    rows = log.read_text().splitlines()
    if damage == "best":
        (tmp_path / "best.pt").unlink()
    else:
        log.write_text("".join(f"{row}\n" for row in rows if f'"event": "{damage}"' not in row))
    assert run(chosen, [200] * 3, tmp_path) == first
    assert same(checkpoint.load(tmp_path / "best.pt")["weights"], weights)
    assert log.read_text().splitlines() == rows
