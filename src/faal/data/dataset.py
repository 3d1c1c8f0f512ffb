"""Labelled images, and the two parts of a data set: training data, and test data that only the audit uses."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from faal.data.images import Images
from faal.errors import InputError


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of samples other than their classes, such as the cameras that took them.

    Attributes:
        name: the grouping's name, such as `camera`.
        names: the groups' names, sorted by number or alphabetically.
        index: (N,) int64 on the CPU, each sample's group as an index into `names`.
    """

    name: str
    names: tuple[str, ...]
    index: Tensor

    def take(self, index: Tensor) -> "Grouping":
        """The groups of the samples at `index` (M,); a group without samples keeps its index."""
        return replace(self, index=self.index[index])

    def record(self) -> dict[str, Any]:
        """The grouping as results record it: its name, its groups' names and a SHA-256 of the index."""
        digest = hashlib.sha256(self.index.numpy().astype("<i8").tobytes())
        return {"name": self.name, "names": list(self.names), "sha256": digest.hexdigest()}


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images.

    Attributes:
        images: N images, in memory or on disk.
        labels: (N,) int64 on the CPU, in 0 .. C - 1.
        grouping: groups of samples other than the classes; None where there are none.
        files: the images' paths below their folder; None where they are not files.
    """

    images: Images
    labels: Tensor
    grouping: Grouping | None = None
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.images),):
            raise InputError(
                f"{len(self.images)} images have labels of shape {tuple(self.labels.shape)}; "
                "there must be one label per image"
            )
        if self.labels.dtype != torch.int64 or self.labels.device.type != "cpu":
            kind = str(self.labels.dtype).removeprefix("torch.")
            raise InputError(f"labels are {kind} on {self.labels.device}; they must be int64 on the CPU")

    @property
    def n(self) -> int:
        """The number of samples, N."""
        return len(self.images)

    def take(self, index: Tensor) -> "Split":
        """The samples at `index` (M,) int64, in that order, as a split of their own."""
        index = index.cpu()
        return Split(
            self.images.take(index),
            self.labels[index],
            grouping=self.grouping and self.grouping.take(index),
            files=None if self.files is None else tuple(self.files[i] for i in index.tolist()),
        )

    def to(self, device: torch.device | str) -> "Split":
        """The same samples, with batches of images on `device`."""
        return replace(self, images=self.images.to(device))

    @property
    def groups(self) -> Tensor:
        """(N,) int64, the groups that class rules weight: the classes, unless there is a grouping."""
        return self.labels if self.grouping is None else self.grouping.index

    def counts(self, num_classes: int) -> Tensor:
        """How many samples each class has: (num_classes,) int64."""
        return torch.bincount(self.labels, minlength=num_classes)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set. Either part may be missing: an audit needs no training data, training no test data.

    Attributes:
        name: its name in results.
        classes: the classes' names; a label is an index into this tuple.
        train: the training data, or None.
        test: the test data, or None.
        notes: changes made to the images while reading, one sentence each.
        counted: whether the number of classes is the highest label plus one, so that a last class without images is
            missed.
        sized: whether the images' size was chosen, by `--size`.
    """

    name: str
    classes: tuple[str, ...]
    train: Split | None
    test: Split | None
    notes: tuple[str, ...] = ()
    counted: bool = False
    sized: bool = False

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return len(self.classes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups that class rules weight: the classes, unless the training part has a grouping."""
        grouping = None if self.train is None else self.train.grouping
        return self.classes if grouping is None else grouping.names


def fingerprint(split: Split) -> str:
    """The digest that identifies the data of a result: a SHA-256 over all labels and about a hundred images.

    Images at equal distances are hashed as float32 in [0, 1], so that the digest does not depend on how they
    are stored. Two splits with equal fingerprints have the same labels in the same order and almost certainly the same
    images.
    """
    digest = hashlib.sha256(repr((split.n, split.images.shape)).encode())
    digest.update(split.labels.numpy().astype("<i8").tobytes())
    for i in range(0, split.n, max(1, split.n // 100)):
        digest.update(split.images.fetch(torch.tensor([i])).cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
