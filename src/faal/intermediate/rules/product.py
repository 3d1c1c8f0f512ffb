"""The product of two rules: of their factors and weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from faal.intermediate.class_rule import ClassBudget, ClassRule, EpochStats, EvaluationRequest, Level, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class Product(ClassRule):
    """FAAL's weights on another method, such as CFA's margins.

    Args:
        first: the rule that may request evaluations, sample and set budgets.
        second: the other; it computes the weights of each batch from that batch only.
    """

    level: Level = "batch"

    def __init__(self, first: ClassRule, second: ClassRule) -> None:
        self.first, self.second = first, second
        self.steers = first.steers

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]
        """The statistics of both rules."""
        return self.first.needs | self.second.needs

    def first_epoch(self, epochs: int) -> int:
        """The earlier first epoch of both rules."""
        return min(self.first.first_epoch(epochs), self.second.first_epoch(epochs))

    def is_active(self, epochs: int) -> bool:
        """Whether either is active."""
        return self.first.is_active(epochs) or self.second.is_active(epochs)

    def evaluation(self, epoch: int) -> EvaluationRequest | None:
        """From the first rule."""
        return self.first.evaluation(epoch)

    def begin_epoch(self, stats: EpochStats) -> None:
        """Update both rules."""
        self.first.begin_epoch(stats)
        self.second.begin_epoch(stats)

    def budget(self) -> ClassBudget:
        """From the first rule."""
        return self.first.budget()

    def epoch_factors(self) -> dict[str, Tensor]:
        """The factors of the first rule; the second changes its own per batch."""
        return self.first.epoch_factors()

    @property
    def sampling(self) -> Callable[[], Tensor] | None:
        """From the first rule."""
        return self.first.sampling

    def weigh(self, batch: BatchStats) -> TermWeights:
        """The product of both rules' weights, term by term."""
        first, second = self.first.weigh(batch), self.second.weigh(batch)
        return TermWeights(clean=first.clean * second.clean, robust=first.robust * second.robust, penalty=first.penalty)

    def state_dict(self) -> dict[str, Any]:
        """The state of both rules."""
        return {"first": self.first.state_dict(), "second": self.second.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self.first.load_state_dict(state["first"])
        self.second.load_state_dict(state["second"])

    def to(self, device: torch.device) -> "Product":
        """Move both rules to the device."""
        self.first.to(device)
        self.second.to(device)
        return self
