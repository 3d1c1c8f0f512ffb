"""Confusion: how often each class is predicted as each other. Only the counts that are not zero are stored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array, vstack

MANY = 200
"""The least number of classes of which `audit.json` has only the counts that are not zero; of fewer it has all C^2."""

ENTRIES = ("true", "predicted", "count")
"""The lists of that form, entry by entry: true class, predicted class, and the number of such samples."""


class Confusion:
    """C rows of C counts: `confusion[c][p]` samples of class c are predicted as p.

    Its memory grows with the samples and not with the square of the classes.

    Args:
        counts: (C, C), true class by predicted class, each entry once.
    """

    def __init__(self, counts: csr_array) -> None:
        self.counts = counts

    @classmethod
    def of(cls, true: ArrayLike, predicted: ArrayLike, num_classes: int, count: ArrayLike | None = None) -> "Confusion":
        """Count the predictions.

        Args:
            true: (N,) true classes, 0 to C - 1.
            predicted: (N,) predicted classes, 0 to C - 1.
            num_classes: C.
            count: (N,) number of samples of each entry; one by default.
        """
        rows, columns = (np.asarray(classes, dtype=np.int64) for classes in (true, predicted))
        number = np.ones(len(rows), np.int64) if count is None else np.asarray(count, dtype=np.int64)
        return cls(coo_array((number, (rows, columns)), shape=(num_classes, num_classes)).tocsr())

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def __getitem__(self, c: int) -> tuple[int, ...]:
        return tuple(self.counts[[range(len(self))[c]]].toarray()[0].tolist())

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (self[c] for c in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Confusion):
            return len(self) == len(other) and (self.counts != other.counts).nnz == 0
        return tuple(self) == other

    def __repr__(self) -> str:
        return f"<Confusion of {self.counts.sum()} samples in {len(self)} classes>"

    def to_json(self) -> list[list[int]] | dict[str, list[int]]:
        """All rows; of `MANY` classes or more the `ENTRIES` that are not zero, row by row."""
        if len(self) < MANY:
            return [list(row) for row in self]
        found = self.counts.tocoo()
        return dict(zip(ENTRIES, (part.tolist() for part in (found.row, found.col, found.data)), strict=True))

    @classmethod
    def from_json(cls, plain: Sequence[Sequence[int]] | Mapping[str, Sequence[int]], num_classes: int) -> "Confusion":
        """Read either form; audits of an earlier version have all rows, however many classes there are.

        Raises:
            KeyError, TypeError, ValueError: it is neither form, or of another number of classes.
        """
        if isinstance(plain, Mapping):
            true, predicted, count = (_whole_numbers(plain[name]) for name in ENTRIES)
            return cls.of(true, predicted, num_classes, count)
        if {len(plain), *map(len, plain)} != {num_classes}:
            raise ValueError(f"its confusion is not of {num_classes} classes")
        return cls(vstack([csr_array(_whole_numbers(row)[None]) for row in plain], format="csr"))


def _whole_numbers(values: Sequence[Any]) -> NDArray[np.int64]:
    """(K,) int64, none negative."""
    found = np.array(values)
    if found.ndim != 1 or (found.size and (found.dtype.kind != "i" or found.min() < 0)):
        raise ValueError("its confusion has values that are not whole numbers from 0 on")
    return found.astype(np.int64)
