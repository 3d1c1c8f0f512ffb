"""The content of a run's files, as frozen dataclasses.

Accuracies are fractions; nan marks values that were not measured.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faal.confusion import Confusion

Period = Literal["batch", "epoch"]
"""Whether a vector over the classes has one value per batch or per epoch."""


@dataclass(frozen=True, kw_only=True)
class IntervalEstimate:
    """An accuracy, or a difference of accuracies, with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """One class under one attack: `correct` of its `n` images are predicted correctly."""

    name: str
    n: int
    correct: int
    accuracy: IntervalEstimate


@dataclass(frozen=True, kw_only=True)
class AttackAccuracies:
    """Accuracies under one attack.

    `gap` is the best class minus the worst one, `deviation` the standard deviation over the classes, `tenth` the mean
    of the worst tenth of many classes; `confusion` the counts, true class by predicted class. None where the audit
    lacks it.
    """

    name: str
    average: IntervalEstimate
    balanced: IntervalEstimate
    worst: IntervalEstimate
    worst_class: str
    gap: IntervalEstimate | None = None
    best_class: str = ""
    deviation: IntervalEstimate | None = None
    tenth: IntervalEstimate | None = None
    tenth_classes: tuple[str, ...] = ()
    classes: tuple[ClassAccuracy, ...]
    confusion: Confusion | None


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """`audit.json`.

    `groups` has the accuracies by groups other than the classes, grouping -> attack -> accuracies; `settings` are all
    settings of the audit and its environment, as (key, text) rows.
    """

    attacks: dict[str, AttackAccuracies]
    groups: dict[str, dict[str, AttackAccuracies]]
    classes: tuple[str, ...]
    norm: str
    epsilon: float
    data: str
    fingerprint: str | None = None
    """Digest of the images, if recorded."""
    n: int
    level: float
    warnings: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class CurveRecord:
    """`curve.json`: robust accuracies at every epsilon, from 0 on, under these attacks together.

    An image that is misclassified at one epsilon counts as misclassified at every larger one.
    """

    norm: str
    epsilons: tuple[float, ...]
    points: tuple[AttackAccuracies, ...]
    attacks: tuple[str, ...]
    data: str
    n: int
    level: float
    warnings: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(c.name for c in self.points[0].classes)

    @property
    def values(self) -> NDArray[np.float64]:
        """(E, C) accuracies."""
        return np.array([[c.accuracy.value for c in point.classes] for point in self.points])


@dataclass(frozen=True, kw_only=True)
class VerdictArrays:
    """`verdicts.npz`: (N,) labels and indices; per attack (N,) bool, true where the prediction is correct, and (N,)
    predicted classes; per grouping (N,) groups."""

    label: NDArray[np.int64]
    index: NDArray[np.int64]
    correct: dict[str, NDArray[np.bool_]]
    predicted: dict[str, NDArray[np.int64]]
    groups: dict[str, NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class ExampleImages:
    """`examples.npz`: K adversarial examples.

    `original` and `adversarial` (K, channels, H, W) uint8, one channel or three; `label` and `predicted` (K,), the true
    class and the class predicted for the adversarial example; `attack` (K,) names.
    """

    original: NDArray[np.uint8]
    adversarial: NDArray[np.uint8]
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    attack: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of `metrics.jsonl`.

    `loss` and `accuracy` are means over its batches, the accuracy on the adversarial examples of training; `average`
    and `worst` are robust accuracies on the hold-out.
    """

    number: int
    learning_rate: float
    loss: float
    accuracy: float
    average: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """`metrics.jsonl`: the epochs, the class weights (T, C) at the logged batches (T,), the other
    vectors over the classes, and the run's notes. For many classes the weights are means, and the steps are epochs."""

    epochs: tuple[Epoch, ...]
    period: Period = "batch"
    steps: NDArray[np.int64]
    weights: NDArray[np.float64]
    vectors: tuple["ClassVectors", ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClassVectors:
    """One value per class over the training: (T, C) at the batches or epochs (see `period`) `at` (T,); `name` is the
    key in `metrics.jsonl`."""

    name: str
    period: Period
    at: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """All files of a run's folder. `outdated`: its audit is of a different network than its best.pt."""

    name: str
    audit: AuditRecord
    outdated: bool = False
    verdicts: VerdictArrays | None
    examples: ExampleImages | None
    training: TrainingLog | None
    config: str | None
    curves: tuple[CurveRecord, ...]
    environment: tuple[tuple[str, str], ...]
