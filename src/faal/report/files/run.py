"""What a run's files say, as plain values.

Accuracies are fractions; nan stands where nothing was measured.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An accuracy with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """One class under one attack: `correct` of its `n` images stand."""

    name: str
    n: int
    correct: int
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What one attack left standing.

    `gap` is the best class minus the worst one, `deviation` the standard deviation over the classes, `tenth` the mean
    of the lowest tenth of many classes; `confusion` (C, C) counts, true class by answer. None where the audit has none.
    """

    name: str
    average: Estimate
    balanced: Estimate
    worst: Estimate
    worst_class: str
    gap: Estimate | None = None
    best_class: str = ""
    deviation: Estimate | None = None
    tenth: Estimate | None = None
    tenth_classes: tuple[str, ...] = ()
    classes: tuple[ClassAccuracy, ...]
    confusion: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """`audit.json`.

    `groups` has the same figures by other groups than the classes, grouping -> attack -> figures; `made_by` everything
    that says how the figures came about, as (key, text) rows.
    """

    attacks: dict[str, Attack]
    groups: dict[str, dict[str, Attack]]
    classes: tuple[str, ...]
    norm: str
    epsilon: float
    data: str
    fingerprint: str | None = None
    """Of the images, where it was recorded."""
    n: int
    level: float
    warnings: tuple[str, ...]
    made_by: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """`curve.json`: what stands at every radius, from 0 on, under these attacks together; sample by sample no more than
    at any smaller radius."""

    norm: str
    epsilons: tuple[float, ...]
    points: tuple[Attack, ...]
    attacks: tuple[str, ...]
    data: str
    n: int
    level: float
    warnings: tuple[str, ...]
    made_by: tuple[tuple[str, str], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(c.name for c in self.points[0].classes)

    @property
    def values(self) -> NDArray[np.float64]:
        """(E, C) accuracies."""
        return np.array([[c.accuracy.value for c in point.classes] for point in self.points])


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """`verdicts.npz`, sample by sample: (N,) labels and indices, and per attack (N,) bool, true where it stands."""

    label: NDArray[np.int64]
    index: NDArray[np.int64]
    correct: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """`examples.npz`: K samples that an attack turned.

    `original` and `adversarial` (K, channels, H, W) uint8, one channel or three; `label` and `predicted` (K,) classes,
    what they are and what the adversarial image was taken for; `attack` (K,) names.
    """

    original: NDArray[np.uint8]
    adversarial: NDArray[np.uint8]
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    attack: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of `metrics.jsonl`.

    `loss` and `accuracy` are means over its batches, the accuracy on the images as they were attacked in training;
    `average` and `worst` are robust accuracies on the held-out part.
    """

    number: int
    learning_rate: float
    loss: float
    accuracy: float
    average: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """`metrics.jsonl`: the epochs, the class weights (T, C) at the batches (T,) where they were logged, and what a
    reader has to know, in sentences."""

    epochs: tuple[Epoch, ...]
    steps: NDArray[np.int64]
    weights: NDArray[np.float64]
    moved: tuple["Moved", ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What else a method moved over the classes: values (T, C) at the batches or epochs `at` (T,); `name` is the key in
    `metrics.jsonl`."""

    name: str
    at: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder. `outdated`: its audit is of another network than the best.pt that lies beside it."""

    name: str
    audit: Audit
    outdated: bool = False
    verdicts: Verdicts | None
    examples: Examples | None
    training: Training | None
    config: str | None
    curves: tuple[Curve, ...]
    environment: tuple[tuple[str, str], ...]
