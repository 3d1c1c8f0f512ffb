"""The class-wise vectors of a method, from its log: the weights of both terms, budgets, penalty, sampling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.report.files.run import ClassVectors, Period, TrainingLog


@dataclass(frozen=True, kw_only=True)
class VectorNames:
    """The names of a class-wise vector on the page, and the unit in which it is printed.

    `period`: whether there is one per batch or per epoch, for few classes; `mean` and `unit` are text, `label` is that
    of the colour scale.
    """

    title: str
    period: Period = "batch"
    mean: str = "Mean weight"
    unit: str = "an equal weight"
    label: str = "weight, 1 = equal"
    relative: bool = True
    """Whether it is divided by its mean, since only ratios matter; a factor on epsilon is not."""


FACTOR = VectorNames(title="", period="epoch", mean="Mean factor", relative=False)

VECTOR_NAMES = {
    "weights": VectorNames(title="Class weights"),
    "robust_weights": VectorNames(title="Class weights of the robust term"),
    "clean_weights": VectorNames(title="Class weights of the clean term"),
    "sampling": VectorNames(
        title="Probabilities of the classes in a batch",
        mean="Mean probability",
        unit="an equal probability",
        label="probability, 1 = equal",
    ),
    "epsilon_factors": replace(
        FACTOR, title="Epsilon in training", unit="the recipe's epsilon", label="epsilon, 1 = recipe's"
    ),
    "step_factors": replace(
        FACTOR,
        title="Step size of the attack in training",
        unit="the recipe's step size",
        label="step size, 1 = recipe's",
    ),
    "penalty": VectorNames(title="Weights of the penalty on confusions, by true class", period="epoch"),
}
"""By their keys in `metrics.jsonl`; `robust_weights` is `weights` if the clean term has other weights."""


def weighted_records(
    batches: Sequence[Mapping[str, Any]], epochs: Sequence[Mapping[str, Any]], num_classes: int
) -> tuple[list[Mapping[str, Any]], Period]:
    """The records with weights of C classes: those of batches, or for many classes the means in those of epochs."""
    averaged = any("weights" in record for record in epochs)
    records = epochs if averaged else batches
    found = [record for record in records if len(record.get("weights") or ()) == num_classes]
    return found, "epoch" if averaged else "batch"


def positions(records: Sequence[Mapping[str, Any]], period: Period) -> NDArray[np.int64]:
    """The numbers of the records' batches or epochs."""
    return np.array([record["step" if period == "batch" else "epoch"] for record in records], dtype=np.int64)


def read_class_vectors(
    weighted: Sequence[Mapping[str, Any]], epochs: Sequence[Mapping[str, Any]], num_classes: int, period: Period
) -> tuple[ClassVectors, ...]:
    """The vectors over the classes in a log, besides the robust term's weights.

    In a record without a vector that others have, it was uniform.

    Args:
        weighted: the records that have `weights`.
        epochs: the records of epochs.
        num_classes: C.
        period: whether `weighted` are of batches or of epochs.

    Raises:
        KeyError, TypeError, ValueError: a record does not fit a run's log.
    """
    found = []
    for name, text in VECTOR_NAMES.items():
        records, record_period = (weighted, period) if text.period == "batch" else (epochs, text.period)
        rows = [record.get(name) or (record["weights"] if name == "clean_weights" else None) for record in records]
        if name != "weights" and any(name in record and len(record[name]) == num_classes for record in records):
            uniform = [1.0] * num_classes
            values = np.array([uniform if row is None else row for row in rows], dtype=np.float64)
            values = np.where(np.isfinite(values), values, 1.0)
            found.append(
                ClassVectors(name=name, period=record_period, at=positions(records, record_period), values=values)
            )
    return tuple(found)


def class_vectors(training: TrainingLog) -> Iterator[ClassVectors]:
    """All vectors over the classes, in multiples of the uniform value."""
    if len(training.steps):
        name = "robust_weights" if any(found.name == "clean_weights" for found in training.vectors) else "weights"
        weights = _multiples(training.weights)
        yield ClassVectors(name=name, period=training.period, at=training.steps, values=weights)
    for found in training.vectors:
        yield replace(found, values=_multiples(found.values)) if VECTOR_NAMES[found.name].relative else found


def _multiples(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (T, C) as multiples of an equal weight, for a sum or a mean of one."""
    weights = np.nan_to_num(weights)
    totals = weights.mean(axis=1, keepdims=True)
    multiples: NDArray[np.float64] = np.divide(weights, totals, out=np.ones_like(weights), where=totals > 0)
    return multiples
