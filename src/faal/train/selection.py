"""The selection of the epoch, on the held-out part of the training set unless the recipe sets another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.registry import attack_named
from faal.config.choices import ScoreRule
from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Class-wise robust accuracy on the held-out part; None for a class without images."""

    average: float
    worst: float
    classes: list[float | None]

    @classmethod
    def of(cls, metrics: ClassMetrics) -> Self:
        """From the metrics of an evaluation."""
        pairs = zip((1 - metrics.robust_error).tolist(), metrics.counts.tolist(), strict=True)
        classes = [accuracy if count else None for accuracy, count in pairs]
        worst = min(accuracy for accuracy in classes if accuracy is not None)
        return cls(average=float(1 - metrics.overall(metrics.robust_error)), worst=worst, classes=classes)


RULES: dict[ScoreRule, Callable[[HeldOutAccuracy], float]] = {
    "sum": lambda accuracy: accuracy.average + accuracy.worst,
    "average": lambda accuracy: accuracy.average,
    "worst": lambda accuracy: accuracy.worst,
}
"""Score of an epoch; the highest is chosen, the earliest of ties. `last` has no score: the last epoch is used."""


def selection_request(attack: str) -> EvaluationRequest:
    """The evaluation by which an epoch is chosen.

    Args:
        attack: `pgdK` or `cwK`, K steps of epsilon / 4.

    Raises:
        InputError: another attack.
    """
    chosen = attack_named(attack)
    if not isinstance(chosen, GradientAttack):
        raise InputError(f"select_attack is pgdK or cwK, such as cw10, not {attack!r}: it runs after every epoch")
    return EvaluationRequest(part="steer", loss=chosen.loss, steps=chosen.steps)
