"""The parts of a data set in a run: for training, for the selection of the epoch, and for evaluation during
training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from faal.config import Recipe
from faal.data import DataSet, Split, fingerprint, hold_out
from faal.data.classwise import in_proportion
from faal.engine.seeds import generator
from faal.errors import InputError
from faal.methods import searches_offsets
from faal.models.provenance import part_digest

HELD_OUT_SEED = 0
"""The withheld images depend on the data and its groups, not on a run's seed: a repair must not choose its
epoch on images that its base was trained on, and methods are compared on the same split."""

TEST_IMAGES = 2560
"""Test images for `select_on: test`: the first ones, or a random subset where these lack a class."""

MAX_STEER_PER_CLASS = 200
"""Without a withheld steering part, the largest number of training images of a class that a method evaluates on."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a run's data."""

    full: Split
    """All training images, to which the indices refer."""
    train: Tensor
    """(N,) int64, the images to train on."""
    select_index: Tensor
    """(M,) int64, the images withheld to choose the epoch."""
    select: Split
    """The images to choose the epoch on; empty without selection."""
    steer_index: Tensor
    """(K,) int64, the images withheld for evaluation during training."""
    steer: Split
    """The images that a method may evaluate on during training."""
    notes: tuple[str, ...]
    """Notes for the interpretation of the results."""
    validation: str | None = None
    """The fingerprint of `select`, if its images are not of the training set."""

    def digests(self, data: str) -> dict[str, str]:
        """The digests (`part_digest`) of the withheld parts that are not empty, by name."""
        withheld = {"select": self.select_index, "steer": self.steer_index}
        return {name: part_digest(data, index) for name, index in withheld.items() if len(index) > 0}

    @property
    def selection_split(self) -> Split | None:
        """The images that a network may be chosen on: validation images, else withheld ones; None without any."""
        if self.validation is not None:
            return self.select
        return self.full.take(self.select_index) if len(self.select_index) > 0 else None

    @property
    def train_subset(self) -> Split:
        """Images of the training, of each class (or group) at most `MAX_STEER_PER_CLASS`."""
        labels, groups = self.full.labels[self.train], self.full.groups[self.train]
        # Alternate between a group's classes: in data sorted by class its first images would be of one class.
        alternating = _rank(_strata(labels, groups)).argsort(stable=True)
        return self.full.take(self.train[alternating[_first(groups[alternating], MAX_STEER_PER_CLASS)].sort().values])

    @property
    def for_offsets(self) -> tuple[Split, str | None]:
        """The images that offsets are chosen on, and a note: the withheld ones, else a number of training images of
        each class (or group); never test images."""
        if self.selection_split is not None:
            return self.selection_split, None
        chosen = self.train_subset
        return chosen, (
            f"No image was withheld to choose the offsets on: they were chosen on {chosen.n} training images. For a "
            "network that was trained on these they are easier than unseen ones, to a different degree for each class: "
            "the accuracies on them are too high, and other offsets may be better on unseen images"
        )


def parts_of(
    data: DataSet,
    recipe: Recipe,
    *,
    steers: bool,
    device: torch.device,
    seed: int = 0,
    small: bool = False,
    validation: Split | None = None,
) -> Parts:
    """Divide a data set by a recipe.

    Images are withheld first, and the recipe's `limit` draws a subset of the rest: the withheld images depend neither
    on the limit nor on the seed, so that runs with and without a limit are compared on the same images, and a repair
    with another subset does not train on them either.

    Args:
        data: with a training part.
        recipe: the run's; its `hold_out` determines the withheld parts, its `limit` the number of training images.
        steers: whether the method needs a steering part.
        device: stores the images, if they fit.
        seed: the run's, from which the images of `limit` are drawn; a larger limit adds to those of a smaller one.
        small: whether images of classes with fewer than 200 images are withheld too.
        validation: images that are not of the training set, to choose on instead of withheld ones.

    Raises:
        InputError: a class without training images; `select_on: test` without test images.
    """
    assert data.train is not None
    full = data.train.to(device)
    selects = recipe.select != "last"
    needs_images = (selects and recipe.select_on != "test") or searches_offsets(recipe)
    held_out = hold_out(
        full.groups,
        data.groups,
        select=validation is None and (recipe.hold_out == "both" or (recipe.hold_out == "select" and needs_images)),
        steer=recipe.hold_out == "both" or (recipe.hold_out == "select" and steers),
        seed=HELD_OUT_SEED,
        kind="class" if full.grouping is None else "group",
        small=small,
    )
    train = held_out.train
    if recipe.limit is not None:
        train = train[_part(full.labels[train], full.groups[train], recipe.limit, seed)]
    for kind, names, labels_or_groups in (("class", data.classes, full.labels), ("group", data.groups, full.groups)):
        for index, message in (
            (held_out.train, f"{data.name} has no training image of {kind} {{!r}}; remove the {kind} or add images"),
            (train, f"a limit of {recipe.limit} training images leaves none of {kind} {{!r}}; raise --limit"),
        ):
            counts = torch.bincount(labels_or_groups[index], minlength=len(names))
            if int(counts.min()) == 0:
                raise InputError(message.format(names[int(counts.argmin())]))

    notes, select = [], full.take(held_out.select if selects else held_out.select[:0])
    if not selects and len(held_out.train) < full.n:
        notes.append("There is no selection, and the last epoch is used")
    elif validation is None and (not selects or recipe.hold_out == "none"):
        notes.append("Nothing was held out: there is no selection, and the last epoch is used")
    elif held_out.reason:
        notes.append(held_out.reason)
    if selects and recipe.select_on == "test":
        if data.test is None:
            raise InputError(f"{data.name} has no test images to choose the epoch on; leave select_on at held-out")
        select = data.test.take(_test_subset(data.test.labels, data.num_classes))
        notes = [f"The epoch was chosen on {select.n} test images: the audit's accuracies are too high"]
    if validation is not None:
        select = validation
    steer = held_out.steer
    if steers and len(steer) == 0:
        steer = train[_first(full.groups[train], MAX_STEER_PER_CLASS)]
        notes.append("No image could be withheld for the method's evaluations: it used training images instead")
    if len(train) < len(held_out.train):
        notes.append(
            f"Trained on {len(train):,} of {len(held_out.train):,} training images, drawn by class with seed {seed}"
        )
    return Parts(
        full=full,
        train=train,
        select_index=held_out.select,
        select=select.to(device),
        steer_index=held_out.steer,
        steer=full.take(steer),
        notes=tuple(notes),
        validation=None if validation is None else fingerprint(validation),
    )


def _part(labels: Tensor, groups: Tensor, limit: int, seed: int) -> Tensor:
    """Indices of `limit` random samples, in proportion to classes and groups."""
    return in_proportion(_strata(labels, groups), limit, generator(seed, "limit"))


def _strata(labels: Tensor, groups: Tensor) -> Tensor:
    """(N,) int64, a number for each pair of class and group in the data."""
    strata: Tensor = torch.stack((labels, groups)).unique(dim=1, return_inverse=True)[1]
    return strata


def _test_subset(labels: Tensor, num_classes: int) -> Tensor:
    """Indices of the test images on which the epoch is chosen, in order."""
    first = torch.arange(min(TEST_IMAGES, len(labels)))
    if len(labels[first].unique()) == len(labels.unique()):
        return first
    drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(HELD_OUT_SEED))
    return drawn[:TEST_IMAGES].sort().values


def _first(labels: Tensor, most: int) -> Tensor:
    """(M,) indices of the first `most` samples of every class."""
    return torch.nonzero(_rank(labels) < most).flatten()


def _rank(labels: Tensor) -> Tensor:
    """(N,) int64, the number of preceding samples of the same class."""
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    return rank
