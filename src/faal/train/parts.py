"""The parts of a data set in a run: images to train on, to choose the epoch on, to evaluate on during training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from faal.config import Recipe
from faal.data import DataSet, Split, hold_out
from faal.data.classwise import in_proportion
from faal.engine.seeds import generator
from faal.errors import InputError
from faal.methods import seeks_offsets
from faal.models.provenance import part_digest

HELD_OUT_SEED = 0
"""Which images are withheld depends on the data and its groups, never on a run's seed: a repair must not
choose its epoch on images that its base was trained on, and methods are compared on one split."""

TEST_IMAGES = 2560
"""Test images that choose the epoch with `select_on: test`: the first, or a random draw where these lack a class."""

STEER_MOST = 200
"""Where no steering part can be withheld, a method steers by so many training images of a class at the most."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a run's data."""

    full: Split
    """All training images; indices point into it."""
    train: Tensor
    """(N,) int64, those that are trained on."""
    select_index: Tensor
    """(M,) int64, those that are withheld for the choice of the epoch."""
    select: Split
    """What the epoch is chosen on; empty where there is no choice."""
    steer_index: Tensor
    """(K,) int64, those that are withheld for evaluation during training."""
    steer: Split
    """What a method may evaluate on while it trains."""
    notes: tuple[str, ...]
    """For the readers of the results."""

    def digests(self, data: str) -> dict[str, str]:
        """The digests (`part_digest`) of the withheld parts that are not empty, by name."""
        withheld = {"select": self.select_index, "steer": self.steer_index}
        return {name: part_digest(data, index) for name, index in withheld.items() if len(index) > 0}

    @property
    def for_offsets(self) -> tuple[Split, str | None]:
        """The images that offsets are chosen on, and a note: the withheld ones, else some of those that are trained on,
        of each class (or group) so many; never test images."""
        if len(self.select_index) > 0:
            return self.full.take(self.select_index), None
        labels, groups = self.full.labels[self.train], self.full.groups[self.train]
        # A group's classes in turn: in data that are sorted by class its first images would be of one class.
        in_turn = _rank(_strata(labels, groups)).argsort(stable=True)
        chosen = self.full.take(self.train[in_turn[_first(groups[in_turn], STEER_MOST)].sort().values])
        return chosen, (
            f"No image was withheld to choose the offsets on: they were chosen on {chosen.n} training images. To a "
            "network that was trained on these they are easier than new ones, and not equally so in every class: the "
            "accuracies on them are too high, and other offsets may be better on new images"
        )


def parts_of(data: DataSet, recipe: Recipe, *, steers: bool, device: torch.device, seed: int = 0) -> Parts:
    """Divide a data set by a recipe.

    Images are withheld first, and the recipe's `limit` takes a part of the rest: which are withheld depends neither on
    the limit nor on the seed, so that runs with and without one are compared on the same images, and a network trained
    on a part is new to them whatever part a repair takes.

    Args:
        data: has a training part.
        recipe: the run's; its `hold_out` determines what is withheld, its `limit` how many of the rest are trained on.
        steers: whether the method needs a steering part.
        device: where images that fit are stored.
        seed: the run's, which decides which images the limit takes; a larger limit adds to those of a smaller one.

    Raises:
        InputError: a class without training images; `select_on: test` without test images.
    """
    assert data.train is not None
    full = data.train.to(device)
    choice = recipe.select != "last"
    held = hold_out(
        full.groups,
        data.groups,
        select=recipe.hold_out == "both"
        or (recipe.hold_out == "select" and ((choice and recipe.select_on != "test") or seeks_offsets(recipe))),
        steer=recipe.hold_out == "both" or (recipe.hold_out == "select" and steers),
        seed=HELD_OUT_SEED,
        kind="class" if full.grouping is None else "group",
    )
    train = held.train
    if recipe.limit is not None:
        train = train[_part(full.labels[train], full.groups[train], recipe.limit, seed)]
    for kind, names, of in (("class", data.classes, full.labels), ("group", data.groups, full.groups)):
        for index, cause in (
            (held.train, f"{data.name} has no training image of {kind} {{!r}}; remove the {kind} or add images"),
            (train, f"a limit of {recipe.limit} training images leaves none of {kind} {{!r}}; raise --limit"),
        ):
            counts = torch.bincount(of[index], minlength=len(names))
            if int(counts.min()) == 0:
                raise InputError(cause.format(names[int(counts.argmin())]))

    notes, select = [], full.take(held.select if choice else held.select[:0])
    if not choice and len(held.train) < full.n:
        notes.append("There is no selection, and the last epoch counts")
    elif not choice or recipe.hold_out == "none":
        notes.append("Nothing was held out: there is no selection, and the last epoch counts")
    elif held.reason:
        notes.append(held.reason)
    if choice and recipe.select_on == "test":
        if data.test is None:
            raise InputError(f"{data.name} has no test images to choose the epoch on; leave select_on at held-out")
        select = data.test.take(_choosing(data.test.labels, data.num_classes))
        notes = [f"The epoch was chosen on {select.n} test images: the audit's accuracies are too high"]
    steer = held.steer
    if steers and len(steer) == 0:
        steer = train[_first(full.groups[train], STEER_MOST)]
        notes.append("No image could be withheld to steer by: the method used training images instead")
    if len(train) < len(held.train):
        notes.append(
            f"Trained on {len(train):,} of {len(held.train):,} training images, drawn class by class with seed {seed}"
        )
    return Parts(
        full=full,
        train=train,
        select_index=held.select,
        select=select.to(device),
        steer_index=held.steer,
        steer=full.take(steer),
        notes=tuple(notes),
    )


def _part(labels: Tensor, groups: Tensor, limit: int, seed: int) -> Tensor:
    """Places of `limit` samples at random, those of each class and group in proportion."""
    return in_proportion(_strata(labels, groups), limit, generator(seed, "limit"))


def _strata(labels: Tensor, groups: Tensor) -> Tensor:
    """(N,) int64, a number for each pair of class and group that occurs."""
    strata: Tensor = torch.stack((labels, groups)).unique(dim=1, return_inverse=True)[1]
    return strata


def _choosing(labels: Tensor, num_classes: int) -> Tensor:
    """Places of the test images that choose the epoch, in their order."""
    first = torch.arange(min(TEST_IMAGES, len(labels)))
    if len(labels[first].unique()) == len(labels.unique()):
        return first
    drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(HELD_OUT_SEED))
    return drawn[:TEST_IMAGES].sort().values


def _first(labels: Tensor, most: int) -> Tensor:
    """(M,) places of the first `most` samples of every class."""
    return torch.nonzero(_rank(labels) < most).flatten()


def _rank(labels: Tensor) -> Tensor:
    """(N,) int64, how many samples of its class come before each."""
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    return rank
