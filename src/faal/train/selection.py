"""Which epoch's weights are kept: chosen on the held-out part of the training set, never on the test set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.registry import attack_named
from faal.errors import InputError
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Class-wise robust accuracy on the held-out part; None for a class that it has no image of."""

    average: float
    worst: float
    classes: list[float | None]

    @classmethod
    def of(cls, sight: ClassMetrics) -> Self:
        """What a look saw."""
        pairs = zip((1 - sight.robust_error).tolist(), sight.counts.tolist(), strict=True)
        classes = [accuracy if count else None for accuracy, count in pairs]
        worst = min(accuracy for accuracy in classes if accuracy is not None)
        return cls(average=float(1 - sight.overall(sight.robust_error)), worst=worst, classes=classes)


RULES: dict[str, Callable[[HeldOutAccuracy], float]] = {
    "sum": lambda accuracy: accuracy.average + accuracy.worst,
    "average": lambda accuracy: accuracy.average,
    "worst": lambda accuracy: accuracy.worst,
}
"""Score of an epoch; the highest is kept, the earliest of equals. `last` has none: the last epoch is kept."""


def selection_request(attack: str) -> EvaluationRequest:
    """The look that an epoch is chosen by.

    Args:
        attack: `pgdK` or `cwK`, K steps of epsilon / 4.
    """
    chosen = attack_named(attack)
    if not isinstance(chosen, GradientAttack):
        raise InputError(f"select_attack is pgdK or cwK, such as cw10, not {attack!r}: it runs after every epoch")
    return EvaluationRequest(part="steer", loss=chosen.loss, steps=chosen.steps)
