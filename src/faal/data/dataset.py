"""Labelled images, and the two parts of a data set: one to train on, one to be touched once, by the audit."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from faal.data.images import Images
from faal.errors import InputError


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images.

    Attributes:
        images: a store of N images.
        labels: (N,) int64 on the CPU, in 0 .. C - 1.
    """

    images: Images
    labels: Tensor

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.images),):
            raise InputError(
                f"{len(self.images)} images come with labels of shape {tuple(self.labels.shape)}; "
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
        return Split(self.images.take(index), self.labels[index.cpu()])

    def counts(self, num_classes: int) -> Tensor:
        """How many samples each class has: (num_classes,) int64."""
        return torch.bincount(self.labels, minlength=num_classes)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set. Either part may be missing: an audit needs no training data, training no test data.

    Attributes:
        name: what results call it.
        classes: the classes' names; a label is a place in this tuple.
        train: the training data, or None.
        test: the test data, or None.
    """

    name: str
    classes: tuple[str, ...]
    train: Split | None
    test: Split | None

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return len(self.classes)


def fingerprint(split: Split) -> str:
    """What results record about the data they came from: a SHA-256 over all labels and about a hundred images.

    Images are taken at equal distances and hashed as float32 in [0, 1], so that it makes no difference how they are
    kept. Two splits with one fingerprint have the same labels in the same order and almost certainly the same images.
    """
    digest = hashlib.sha256(repr((split.n, split.images.shape)).encode())
    digest.update(split.labels.numpy().astype("<i8").tobytes())
    for place in range(0, split.n, max(1, split.n // 100)):
        digest.update(split.images.fetch(torch.tensor([place])).cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
