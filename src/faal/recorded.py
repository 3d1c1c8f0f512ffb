"""Checks of recorded accuracies when they are read: against their own counts, and against the verdicts.

A text file has no checksum. But nearly all that an audit records of an attack follows from the number of samples of
each class and the number predicted correctly, and these counts follow from the verdicts in the same folder.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

TOLERANCE = 1e-9
"""Rounding of a fraction; a JSON file has all digits."""

OPTIONAL = ("worst_tenth", "gap", "deviation")
"""Entries that audits of an earlier version lack; the worst tenth is not recorded of few classes either."""


class Counted(Protocol):
    """A class (or group) under an attack: `correct` of its `n` samples are predicted correctly."""

    @property
    def name(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def correct(self) -> int: ...


def check_estimates(recorded: Mapping[str, Any]) -> None:
    """Check that the accuracies under an attack follow from their counts and are within their intervals.

    Args:
        recorded: the attack's entry in a JSON file: `classes`, `average` and the other summaries.

    Raises:
        ValueError: one does not; the message names it.
        KeyError, TypeError, AttributeError: an entry is missing, or of another type.
    """
    classes = recorded["classes"]
    names = [str(entry["name"]) for entry in classes]
    n, correct = (_whole_numbers([entry[key] for entry in classes]) for key in ("n", "correct"))
    present = np.flatnonzero(n)
    if not present.size or (correct > n).any():
        raise ValueError("it has classes with more correct samples than samples, or no samples")
    rates = correct[present] / n[present]
    _check([names[c] for c in present], [classes[c] for c in present], rates)
    values = {
        "average": correct.sum() / n.sum(),
        "balanced": rates.mean(),
        "worst": rates.min(),
        "worst_tenth": np.sort(rates)[: -(-len(rates) // 10)].mean(),
        "gap": rates.max() - rates.min(),
        "deviation": rates.std(),
    }
    found = {name: recorded.get(name) if name in OPTIONAL else recorded[name] for name in values}
    known = [name for name, entry in found.items() if entry is not None or name not in OPTIONAL]
    _check(
        known,
        [entry for name in known if (entry := found[name]) is not None],
        np.array([values[name] for name in known]),
    )


def _check(names: Sequence[str], entries: Sequence[Mapping[str, Any]], expected: NDArray[np.float64]) -> None:
    """Compare the entries' values with those expected, and with their intervals."""
    low, value, high = (_fractions([entry[key] for entry in entries]) for key in ("low", "value", "high"))
    other = ~(np.abs(value - expected) <= TOLERANCE)
    outside = ~(
        (low >= -TOLERANCE) & (low <= value + TOLERANCE) & (value <= high + TOLERANCE) & (high <= 1 + TOLERANCE)
    )
    for c in np.flatnonzero(other | outside)[:1]:
        where = f"the value of {names[c]} is {value[c]:.6g}"
        if other[c]:
            raise ValueError(f"{where}, and {expected[c]:.6g} follows from the counts")
        raise ValueError(f"{where}, outside its interval from {low[c]:.6g} to {high[c]:.6g}")


def check_counts(classes: Sequence[Counted], class_index: NDArray[np.int64], correct: NDArray[np.bool_]) -> None:
    """Check that counts are those of the verdicts.

    Args:
        classes: C counts.
        class_index: (N,) each sample's class, 0 to C - 1.
        correct: (N,) whether it is predicted correctly.

    Raises:
        ValueError: they are not; the message names the class.
    """
    if class_index.size and not 0 <= class_index.min() <= class_index.max() < len(classes):
        raise ValueError(f"the verdicts have samples of other classes than the {len(classes)} recorded ones")
    counts = (np.bincount(each, minlength=len(classes)).tolist() for each in (class_index, class_index[correct]))
    for entry, n, right in zip(classes, *counts, strict=True):
        if (entry.n, entry.correct) != (n, right):
            raise ValueError(
                f"{entry.correct} of {entry.n} samples of {entry.name} are recorded as correct, {right} of {n} by the "
                "verdicts"
            )


def check_confusion(confusion: csr_array, label: NDArray[np.int64], predicted: NDArray[Any]) -> None:
    """Check that a confusion is that of the verdicts.

    Args:
        confusion: (C, C) counts, true class by predicted class.
        label: (N,) true classes, 0 to C - 1.
        predicted: (N,) predicted classes.

    Raises:
        ValueError: it is not; the message names the first pair of classes by number.
    """
    counted = coo_array((np.ones(len(label), np.int64), (label, predicted)), shape=confusion.shape).tocsr()
    differ = (confusion != counted).nonzero()
    if len(differ[0]):
        true, other = (int(classes[0]) for classes in differ)
        raise ValueError(
            f"the confusion has {confusion[true, other]:g} samples of class {true} that are predicted as {other}, the "
            f"verdicts {counted[true, other]}"
        )


def _whole_numbers(values: ArrayLike) -> NDArray[np.int64]:
    """(C,) int64, none negative."""
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind != "i" or found.min() < 0:
        raise ValueError("it has counts that are not whole numbers from 0 on")
    return found.astype(np.int64)


def _fractions(values: Sequence[Any]) -> NDArray[np.float64]:
    """(K,) float64; other values are rejected."""
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "fi" or any(isinstance(value, bool) for value in values):
        raise ValueError("it has accuracies that are not numbers")
    return found.astype(np.float64)
