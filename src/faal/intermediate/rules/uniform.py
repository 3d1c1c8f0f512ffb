"""No rule: all classes alike. Plain adversarial training."""

from typing import Any

import torch

from faal.intermediate.class_rule import ClassBudget, EpochStats, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class Uniform:
    """Weight 1 for every class."""

    needs: frozenset[Need] = frozenset()

    def begin_epoch(self, seen: EpochStats) -> None:
        """Nothing to do."""

    def budget(self) -> ClassBudget:
        """The threat model as it is."""
        return ClassBudget()

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Ones."""
        ones = torch.ones_like(batch.counts)
        return TermWeights(clean=ones, robust=ones)

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""
