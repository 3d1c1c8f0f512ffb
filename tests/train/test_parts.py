"""What a run does with its images: which are withheld, which choose, which steer, and the notes."""

import dataclasses

import pytest
import torch
from tests.conftest import toy_data, toy_split

from faal.config import Recipe
from faal.data import DataSet, grouping
from faal.errors import InputError
from faal.train.parts import Parts, parts_of

CPU = torch.device("cpu")
COUNTS = [200, 250, 600]
"""Each part withholds 20, 20 and 24 of these."""
HELD = [20, 20, 24]
LAST = "Nothing was held out: there is no selection, and the last epoch is used"


def parts(recipe: Recipe, data: DataSet | None = None, *, steers: bool = False, **settings: str) -> Parts:
    changed = recipe.replace(settings, source="test")
    return parts_of(data or toy_data(COUNTS), changed, steers=steers, device=CPU)


def classes(labels: torch.Tensor, count: int = 3) -> list[int]:
    return torch.bincount(labels, minlength=count).tolist()


def place(found: Parts, images: torch.Tensor) -> set[int]:
    """Which of the training images these are; toy images all differ."""
    whole = found.full.images.fetch(torch.arange(found.full.n)).flatten(1)
    return {int(torch.nonzero((whole == image).all(dim=1)).item()) for image in images.flatten(1)}


CASES = [
    # hold_out, steers, select, select_on -> is a part withheld to select, to steer; is it used; the note
    ("select", False, "sum", "held-out", True, False, True, None),
    ("select", True, "sum", "held-out", True, True, True, None),
    ("select", False, "last", "held-out", False, False, False, LAST),
    ("select", True, "last", "held-out", False, True, False, "There is no selection, and the last epoch is used"),
    ("select", False, "sum", "test", False, False, True, "on 600 test images: the audit's accuracies are too high"),
    ("select", True, "sum", "test", False, True, True, "on 600 test images: the audit's accuracies are too high"),
    ("both", False, "sum", "held-out", True, True, True, None),
    ("both", True, "worst", "held-out", True, True, True, None),
    ("both", False, "last", "held-out", True, True, False, "There is no selection, and the last epoch is used"),
    ("both", True, "sum", "test", True, True, True, "on 600 test images: the audit's accuracies are too high"),
    ("none", False, "sum", "held-out", False, False, False, LAST),
    ("none", True, "sum", "held-out", False, False, False, LAST),
    ("none", False, "last", "test", False, False, False, LAST),
    ("none", True, "sum", "test", False, False, True, "on 600 test images: the audit's accuracies are too high"),
]


@pytest.mark.parametrize(
    ("hold_out", "steers", "select", "select_on", "selecting", "steering", "chooses", "note"), CASES
)
def test_the_parts(
    recipe: Recipe, hold_out: str, steers: bool, select: str, select_on: str, selecting: bool, steering: bool,
    chooses: bool, note: str | None,
) -> None:  # fmt: skip
    """Disjoint, stratified, and together all; what is chosen on is the part, the test images, or nothing."""
    data = toy_data(COUNTS)
    test = toy_split([200] * 3, seed=1)
    data = dataclasses.replace(data, test=test)
    found = parts(recipe, data, steers=steers, hold_out=hold_out, select=select, select_on=select_on)

    held = [n * selecting for n in HELD]
    trained = [n - (selecting + steering) * h for n, h in zip(COUNTS, HELD, strict=True)]
    assert classes(found.full.labels[found.train]) == trained
    assert classes(found.full.labels[found.select_index]) == held
    assert not set(found.train.tolist()) & set(found.select_index.tolist())

    if not chooses:
        assert found.select.n == 0
    elif select_on == "test":
        assert found.select.n == 600
        assert torch.equal(found.select.labels, test.labels)
    else:
        assert torch.equal(found.select.labels, found.full.labels[found.select_index])
        chosen = found.select.images.fetch(torch.arange(found.select.n))
        assert place(found, chosen) == set(found.select_index.tolist())

    own = found.steer.images.fetch(torch.arange(found.steer.n))
    if steering:
        assert classes(found.steer.labels) == HELD
        others = set(found.train.tolist()) | set(found.select_index.tolist())
        assert not place(found, own) & others
        assert len(place(found, own) | others) == sum(COUNTS)
    elif steers:
        assert classes(found.steer.labels) == [200, 200, 200]
        assert place(found, own) <= set(found.train.tolist())
    else:
        assert found.steer.n == 0

    notes = ". ".join(found.notes)
    assert ("No image could be withheld for the method's evaluations" in notes) == (steers and not steering)
    if note is None:
        assert found.notes == ()
    else:
        assert found.notes[0].endswith(note)
        assert len(found.notes) == 1 + (steers and not steering)


@pytest.mark.parametrize("hold_out", ["select", "both"])
def test_a_class_too_small_to_spare_images(recipe: Recipe, hold_out: str) -> None:
    """Nothing is withheld, the last epoch counts, and a method that evaluates during training uses training images: all
    is noted."""
    found = parts(recipe, toy_data([250, 199]), steers=True, hold_out=hold_out)
    assert classes(found.full.labels[found.train], 2) == [250, 199]
    assert found.select.n == len(found.select_index) == 0
    assert classes(found.steer.labels, 2) == [200, 199]
    assert found.notes[0].startswith("class 'class1' has 199 training images")
    assert found.notes[1].endswith("it used training images instead")


def test_steering_by_training_images_takes_the_first_of_every_class(recipe: Recipe) -> None:
    """The first 200 of each class, in the data's order, whatever that is."""
    labels = torch.tensor([0, 1] * 230 + [1] * 40)
    data = toy_data([230, 270])
    assert data.train is not None
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=labels))
    found = parts(recipe, data, steers=True, hold_out="none")
    assert found.steer.labels.tolist() == [0, 1] * 200
    own = found.steer.images.fetch(torch.arange(400))
    assert torch.equal(own, found.full.images.fetch(torch.arange(400)))


def test_the_first_test_images_choose(recipe: Recipe) -> None:
    """2,560 of them at the most."""
    data = dataclasses.replace(toy_data([20, 20]), test=toy_split([1500, 1500], size=4, seed=1))
    found = parts(recipe, data, select_on="test", hold_out="none")
    assert found.select.n == 2560
    assert classes(found.select.labels, 2) == [1500, 1060]


def test_a_draw_chooses_where_the_first_test_images_lack_a_class(recipe: Recipe) -> None:
    """Folders come class by class. The draw hangs on no seed of the run."""
    data = dataclasses.replace(toy_data([20] * 4), test=toy_split([1500] * 4, size=4, seed=1))
    assert torch.equal(data.test.labels, data.test.labels.sort().values)
    found = parts(recipe, data, select_on="test", hold_out="none")
    assert found.select.n == 2560
    assert min(classes(found.select.labels, 4)) > 500
    again = parts(recipe, data, select_on="test", hold_out="none")
    assert torch.equal(again.select.labels, found.select.labels)


def test_no_test_images_to_choose_on(recipe: Recipe) -> None:
    data = dataclasses.replace(toy_data(COUNTS), test=None)
    with pytest.raises(InputError, match=r"no test images .*select_on"):
        parts(recipe, data, select_on="test")
    assert parts(recipe, data, select_on="test", select="last").select.n == 0
    assert parts(recipe, data).select.n == sum(HELD)


def test_a_class_without_training_images(recipe: Recipe) -> None:
    with pytest.raises(InputError, match="class 'class1'"):
        parts(recipe, toy_data([30, 0, 30]))


def test_which_images_are_withheld_hangs_on_the_data_alone(recipe: Recipe) -> None:
    """Methods that steer and methods that do not choose on the same images; where both parts are withheld from all,
    they train on the same too."""
    plain, steering = parts(recipe), parts(recipe, steers=True)
    assert torch.equal(plain.select_index, steering.select_index)
    assert set(steering.train.tolist()) < set(plain.train.tolist())
    one, other = (parts(recipe, steers=steers, hold_out="both") for steers in (False, True))
    assert torch.equal(one.train, other.train)
    assert torch.equal(one.train, steering.train)
    assert torch.equal(one.steer.labels, other.steer.labels)


def test_offsets_on_training_images_are_chosen_on_every_group_and_class(recipe: Recipe) -> None:
    """200 of each group at the most, its classes in turn, though the data are sorted by class; without groups the first
    200 of each class."""
    data = toy_data([300, 300])
    assert data.train is not None
    cameras = (["A"] * 280 + ["B"] * 20) * 2
    by_camera = dataclasses.replace(data, train=dataclasses.replace(data.train, grouping=grouping("camera", cameras)))
    chosen, note = parts(recipe, by_camera, hold_out="none").for_offsets
    assert note is not None
    cells = torch.bincount(2 * chosen.groups + chosen.labels, minlength=4)
    assert cells.tolist() == [100, 100, 20, 20]
    found = parts(recipe, data, hold_out="none")
    first = found.full.take(torch.cat([torch.arange(200), torch.arange(300, 500)]))
    places = torch.arange(400)
    assert torch.equal(found.for_offsets[0].images.fetch(places), first.images.fetch(places))
