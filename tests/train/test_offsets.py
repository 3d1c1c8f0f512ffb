"""The search for offsets on problems with known solutions, and runs that end with it."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.conftest import toy_data
from tests.helpers.doctests import failures
from tests.train.test_loop import records, same
from torch import Tensor, nn

import faal
from faal import checkpoint, load_model
from faal.config import Recipe, Threat
from faal.data import Grouping, InMemory, Split
from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.models import Architecture, build_model
from faal.models.offsets import Offset, without_offsets
from faal.train import offsets
from faal.train.loop import train
from faal.train.offsets import EVALUATIONS, search
from faal.train.outcome import OffsetEvaluation, OffsetSearch, Outcome
from faal.train.selection import HeldOutAccuracy

CPU = torch.device("cpu")
CW = EvaluationRequest(part="steer", loss="cw", steps=10)
EPSILON = 0.05


class Threshold(nn.Module):
    """Class 1 above a brightness of 0.6, class 0 below, further classes never; `slope` is of the logits."""

    def __init__(self, slope: float = 10.0, classes: int = 2) -> None:
        super().__init__()
        self.slope, self.classes = slope, classes

    def forward(self, images: Tensor) -> Tensor:
        margin = self.slope * (images.mean(dim=(1, 2, 3)) - 0.6)
        others = torch.full((len(images), self.classes - 2), -10 * self.slope)
        return torch.cat([torch.stack([-margin, margin], dim=1), others], dim=1)


def bright(means: Tensor, labels: Tensor) -> Split:
    return Split(InMemory(means[:, None, None, None].expand(-1, 1, 4, 4).clone()), labels)


HALF = 40
MEANS = torch.cat([torch.linspace(0.2, 0.48, HALF), torch.linspace(0.52, 0.8, HALF)])
SPLIT = bright(MEANS, torch.arange(2).repeat_interleave(HALF))
"""The two classes are as many, as wide, and apart at 0.5: that threshold is the best in average plus worst."""


def sought(net: nn.Module, split: Split = SPLIT, **other: Any) -> tuple[OffsetSearch, list[OffsetEvaluation], Offset]:
    tried: list[OffsetEvaluation] = []
    arguments = {"rule": "sum", "num_classes": 2, "threat": Threat(epsilon=EPSILON), "seed": 1} | other
    whole = Offset(net, torch.zeros(arguments["num_classes"]))
    numerics = Numerics.choose("float32", CPU)
    return search(whole, split, CW, numerics=numerics, on_evaluation=tried.append, **arguments), tried, whole


def score(accuracy: HeldOutAccuracy) -> float:
    return accuracy.average + accuracy.worst


def test_the_best_offsets_of_a_network_whose_threshold_is_known() -> None:
    """0.6 - (b_1 - b_0) / 20 = 0.5 wants b = (-1, 1)."""
    found, tried, net = sought(Threshold())
    assert found.after.offsets == pytest.approx((-1, 1), abs=0.2)
    assert sum(found.after.offsets) == pytest.approx(0, abs=1e-6)
    best = int((MEANS[:HALF] + EPSILON < 0.5).sum()) / HALF
    assert score(found.after.accuracy) == pytest.approx(2 * best, abs=1.5 / HALF)
    assert score(found.after.accuracy) > score(found.before.accuracy) + 0.2
    assert found.before.offsets == (0, 0)
    assert torch.equal(net.offsets, torch.tensor(found.after.offsets))
    assert len(tried) <= EVALUATIONS
    assert found.images == 2 * HALF
    assert score(found.after.accuracy) == max(score(each.accuracy) for each in tried)


def test_logits_times_a_constant_give_offsets_times_it() -> None:
    one, ten = (sought(Threshold(slope))[0].after.offsets for slope in (10, 100))
    assert one != (0, 0)
    assert ten == pytest.approx([10 * offset for offset in one], rel=1e-4)


@pytest.mark.parametrize("rule", ["average", "worst", "sum"])
def test_the_rule_decides_the_choice(rule: str) -> None:
    found, tried, _ = sought(Threshold(), rule=rule)
    scores = {"average": lambda a: a.average, "worst": lambda a: a.worst, "sum": score}
    assert scores[rule](found.after.accuracy) == max(scores[rule](each.accuracy) for each in tried)


def test_the_earliest_of_equals_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no offsets score better there are none."""
    monkeypatch.setitem(offsets.RULES, "sum", lambda accuracy: 1.0)
    found, tried, net = sought(Threshold())
    assert len({each.offsets for each in tried}) > 1
    assert found.after is found.before
    assert not net.offsets.any()


@pytest.mark.parametrize(("images", "chosen"), [(0.99, False), (1.0, True)])
def test_a_gain_of_less_than_one_image_is_none(images: float, chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third evaluation is better by so many images in the average."""
    scores = []

    def scored(accuracy: HeldOutAccuracy) -> float:
        if accuracy not in scores:
            scores.append(accuracy)
        return 0.5 + (images / SPLIT.n if scores.index(accuracy) == 2 else 0)

    monkeypatch.setitem(offsets.RULES, "sum", scored)
    found, tried, net = sought(Threshold())
    assert len(scores) > 2
    after = next(each for each in tried if each.accuracy == scores[2]) if chosen else found.before
    assert found.after is after
    assert found.gain == pytest.approx(images / SPLIT.n if chosen else 0, abs=1e-9)
    assert tuple(net.offsets.tolist()) == after.offsets


def test_equal_classes_end_the_search() -> None:
    """Another evaluation would find the same."""
    found, tried, _ = sought(Threshold(), bright(torch.tensor([0.3, 0.9]), torch.tensor([0, 1])))
    assert (len(tried), found.after.offsets) == (1, (0, 0))


def test_a_class_without_images_keeps_its_offset() -> None:
    found, _, _ = sought(Threshold(classes=4), num_classes=4)
    assert found.after.offsets[2:] == (0, 0)
    assert found.after.offsets[:2] == pytest.approx((-1, 1), abs=0.2)
    assert found.after.accuracy.classes[2:] == [None, None]


def test_a_network_whose_logits_are_all_equal_has_no_scale() -> None:
    class Same(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 0 * images.flatten(1)[:, :2]

    assert sought(Same())[0].after.offsets == (0, 0)


def test_it_begins_with_the_offsets_that_the_network_has() -> None:
    whole = Offset(Threshold(), torch.tensor([-1.0, 1.0]))
    tried: list[OffsetEvaluation] = []
    search(
        whole, SPLIT, CW, rule="sum", num_classes=2, threat=Threat(epsilon=EPSILON), seed=1,
        numerics=Numerics.choose("float32", CPU), on_evaluation=tried.append,
    )  # fmt: skip
    assert tried[0].offsets == (-1, 1)


def test_groups_are_scored_and_classes_get_offsets() -> None:
    """By class nothing changes where groups are the classes; other groups are what average and worst are of."""
    plain, _, _ = sought(Threshold())
    classes = replace(SPLIT, grouping=Grouping("class", ("a", "b"), SPLIT.labels))
    same_groups, _, _ = sought(Threshold(), classes)
    assert same_groups.after.offsets == plain.after.offsets
    halves = replace(SPLIT, grouping=Grouping("half", ("x", "y", "z"), torch.arange(2 * HALF) % 3))
    found, tried, _ = sought(Threshold(), halves)
    assert len(found.after.offsets) == 2
    assert [len(each.accuracy.classes) for each in tried] == [3] * len(tried)
    assert tried[0].by_class.classes == plain.before.accuracy.classes
    assert score(found.after.accuracy) == max(score(each.accuracy) for each in tried)


def test_in_python() -> None:
    """The same constants, for a model that is unchanged; bad input in a sentence."""
    model = Threshold().train()
    images, labels = SPLIT.images.fetch(torch.arange(SPLIT.n)), SPLIT.labels.numpy()
    found = faal.offsets(model, images.numpy(), labels, epsilon=EPSILON, seed=1)
    assert tuple(found.tolist()) == sought(Threshold())[0].after.offsets
    assert model.training
    for wrong, message in (
        ({"rule": "best"}, "no rule 'best'"),
        ({"attack": "autoattack"}, "pgdK or cwK"),
        ({"labels": labels + 1}, "out of range"),
        ({"labels": labels[1:]}, "one label per image"),
        ({"images": 255 * images}, r"\[0, 1\]"),
        ({"images": with_pixel(images, float("nan"))}, r"image 70 has values that are NaN"),
        ({"images": with_pixel(images, 2.0)}, r"image 70 runs from .* to 2, outside \[0, 1\]"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"batch_size": -3}, "batch_size is -3; it must be at least 1"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            faal.offsets(model, **{"images": images, "labels": labels, "epsilon": EPSILON} | wrong)
        assert "\n" not in str(caught.value)


def with_pixel(images: Tensor, value: float) -> Tensor:
    """The images, one pixel of number 70 changed: in the second of two batches of 60."""
    changed = images.clone()
    changed[70, 0, 0, 0] = value
    return changed


def test_a_network_that_cannot_be_attacked() -> None:
    """Logits that are not finite for a later image, and a network without a gradient."""

    class Broken(Threshold):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) / (images.mean(dim=(1, 2, 3)) < 0.78)[:, None].float()

    class Flat(Threshold):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.detach())

    images = SPLIT.images.fetch(torch.arange(SPLIT.n))
    first = int((MEANS >= 0.78).int().argmax())
    with pytest.raises(InputError, match=rf"output for image {first} is NaN or infinite"):
        faal.offsets(Broken(), images, SPLIT.labels, epsilon=EPSILON, batch_size=60)
    with pytest.raises(InputError, match="no gradient"):
        faal.offsets(Flat(), images, SPLIT.labels, epsilon=EPSILON)


# --- runs


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
    with pytest.raises(InputError, match=r"^offsets trains nothing and needs a trained network: faal repair CHECKPOI"):
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
    with pytest.raises(InputError, match="holds another run"):
        again(recipe.replace({"select_attack": "cw3"}, source="test"), tmp_path / "whole")


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


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
    with pytest.raises(InputError, match="holds another run"):
        run(recipe.replace({"offsets": True}, source="test"), [12] * 2, tmp_path)


def test_the_example_of_its_docstring_runs() -> None:
    assert failures(faal.offsets) == ""


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
