"""What a method moves over the classes, as its log has it: the weights of both terms, budgets, penalty, sampling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.report.files.run import Moved, Training


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a vector over the classes is called, and in multiples of what it is shown."""

    title: str
    pace: str = "batch"
    mean: str = "Mean weight"
    most: str = "weighs most"
    unit: str = "an equal weight"
    label: str = "weight, 1 = equal"
    relative: bool = True
    """Whether only its ratios count; a factor on epsilon counts as it is."""


FACTOR = Kind(title="", pace="epoch", mean="Mean factor", most="has the largest", relative=False)

KINDS = {
    "weights": Kind(title="Class weights"),
    "robust_weights": Kind(title="Class weights of the robust term"),
    "clean_weights": Kind(title="Class weights of the clean term"),
    "sampling": Kind(
        title="Probabilities of the classes in a batch",
        mean="Mean probability",
        most="is drawn most",
        unit="an equal probability",
        label="probability, 1 = equal",
    ),
    "epsilon_factors": replace(
        FACTOR, title="Epsilon in training, class by class", unit="the recipe's epsilon", label="epsilon, 1 = recipe's"
    ),
    "step_factors": replace(
        FACTOR,
        title="Step size of the attack in training, class by class",
        unit="the recipe's step size",
        label="step size, 1 = recipe's",
    ),
    "penalty": Kind(title="Weights of the penalty on confusions, by true class", pace="epoch"),
}
"""By their keys in `metrics.jsonl`; `robust_weights` is `weights` where the clean term has its own."""


def moved_in(
    batches: Sequence[Mapping[str, Any]], epochs: Sequence[Mapping[str, Any]], num_classes: int
) -> tuple[Moved, ...]:
    """What a log has beside the robust term's weights. A record without a vector that others have says that it is the
    usual one.

    Args:
        batches: the records of batches, each with its `weights`.
        epochs: the records of epochs.
        num_classes: C.

    Raises:
        KeyError, TypeError, ValueError: a record is none of a run.
    """
    found = []
    for name, kind in KINDS.items():
        records = batches if kind.pace == "batch" else epochs
        rows = [record.get(name) or (record["weights"] if name == "clean_weights" else None) for record in records]
        if name != "weights" and any(name in record and len(record[name]) == num_classes for record in records):
            usual = [1.0] * num_classes
            values = np.array([usual if row is None else row for row in rows], dtype=np.float64)
            at = np.array([record["step" if kind.pace == "batch" else "epoch"] for record in records], dtype=np.int64)
            found.append(Moved(name=name, at=at, values=np.where(np.isfinite(values), values, 1.0)))
    return tuple(found)


def moved_by(training: Training) -> Iterator[Moved]:
    """All that may have moved, in multiples of what it is where classes are alike."""
    if len(training.steps):
        name = "robust_weights" if any(found.name == "clean_weights" for found in training.moved) else "weights"
        yield Moved(name=name, at=training.steps, values=_multiples(training.weights))
    for found in training.moved:
        yield replace(found, values=_multiples(found.values)) if KINDS[found.name].relative else found


def _multiples(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (T, C) as multiples of an equal weight, whether they sum to one or have mean one."""
    weights = np.nan_to_num(weights)
    totals = weights.mean(axis=1, keepdims=True)
    multiples: NDArray[np.float64] = np.divide(weights, totals, out=np.ones_like(weights), where=totals > 0)
    return multiples
