"""A few adversarial examples with their originals, for display. They are stored in `examples.npz`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PER_CLASS = 3
TOTAL = 24


def as_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Images in [0, 1] rounded to uint8; for display only, since rounding changes them."""
    return (images.detach() * 255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """K samples with the adversarial example that an attack found, in parallel arrays.

    `index` (K,) positions in the data; `original` and `adversarial` (K, channels, H, W) uint8; `label`,
    `clean_predicted` and `adversarial_predicted` (K,) classes; `attack` (K,) names.
    """

    index: NDArray[np.int64]
    original: NDArray[np.uint8]
    adversarial: NDArray[np.uint8]
    label: NDArray[np.int64]
    clean_predicted: NDArray[np.int16]
    adversarial_predicted: NDArray[np.int16]
    attack: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.index)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as they are stored."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        return Examples(**{name: array[rows] for name, array in self.arrays().items()})


def select_rows(
    label: NDArray[np.int64], index: NDArray[np.int64], per_class: int = PER_CLASS, total: int = TOTAL
) -> NDArray[np.int64]:
    """The samples to show: the first of every class, then the second of every class, and so on, up to `total`.

    Selection from all samples equals selection from the selections of parts, so processes may select before they
    communicate. `index` orders the samples and has no duplicates.

    Returns:
        Positions in `label`, ordered by class, then by index.
    """
    order = np.lexsort((index, label))
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    rank_in_class = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    order, rank_in_class = order[rank_in_class < per_class], rank_in_class[rank_in_class < per_class]
    chosen = np.lexsort((index[order], rank_in_class))[:total]
    return order[np.sort(chosen)]


def select_examples(parts: Sequence[Examples]) -> Examples | None:
    """The examples to show from those of blocks or processes; of duplicates, the first. None if there
    are none."""
    if not any(len(part) for part in parts):
        return None
    columns = [part.arrays() for part in parts]
    combined = Examples(**{name: np.concatenate([column[name] for column in columns]) for name in columns[0]})
    distinct = combined.take(np.unique(combined.index, return_index=True)[1])
    return distinct.take(select_rows(distinct.label, distinct.index))
