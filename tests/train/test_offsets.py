"""The search for offsets on problems with known solutions, and runs that end with it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.helpers.doctests import failures
from torch import Tensor, nn

import faal
from faal.config import Threat
from faal.data import Grouping, InMemory, Split
from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.models.offsets import Offset
from faal.train import offsets
from faal.train.offsets import EVALUATIONS, search
from faal.train.outcome import OffsetEvaluation, OffsetSearch
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
        ({"images": with_pixel(images, 2.0)}, r"image 70 has values from .* to 2, outside \[0, 1\]"),
        ({"batch_size": 0}, "batch_size is a whole number, at least 1, not 0"),
        ({"batch_size": -3}, "batch_size is a whole number, at least 1, not -3"),
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


def test_the_example_of_its_docstring_runs() -> None:
    assert failures(faal.offsets) == ""
