"""The one abstraction: a class rule moves vectors over the classes, before phase 1 and in phase 2."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from faal.intermediate.class_stats import BatchStats, Need


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """What a rule is told before every epoch, the first too."""

    epoch: int
    """The epoch that begins, from 0."""
    epochs: int
    """The length of the run."""

    @property
    def progress(self) -> float:
        """The part of the run that is over, in [0, 1)."""
        return self.epoch / self.epochs


@dataclass(frozen=True, kw_only=True)
class ClassBudget:
    """Per-class factors on the threat model of phase 1; None leaves it alone."""

    epsilon: Tensor | None = None
    """(C,) factors on epsilon."""
    step_size: Tensor | None = None
    """(C,) factors on the step size."""


@dataclass(frozen=True, kw_only=True)
class TermWeights:
    """Per-class weights of the two terms of an objective."""

    clean: Tensor
    """(C,) weights of the term on clean images."""
    robust: Tensor
    """(C,) weights of the term on adversarial images."""

    def reduce(self, clean: Tensor | None, robust: Tensor | None, classes: Tensor) -> Tensor:
        """The weighted mean over the batch (Algorithm 1, line 14): the one place where losses are weighed and reduced.

        Args:
            clean: (B,) clean terms, or None where the objective has none.
            robust: (B,) robust terms, or None.
            classes: (B,) int64, each sample's class (or group).

        Returns:
            scalar.
        """
        terms = [
            weights.detach()[classes] * term
            for weights, term in ((self.clean, clean), (self.robust, robust))
            if term is not None
        ]
        return sum(terms[1:], start=terms[0]).mean()


class ClassRule(Protocol):
    """Most robust-fairness methods, seen from here."""

    needs: frozenset[Need]
    """The statistics it wants of every batch."""

    def begin_epoch(self, seen: EpochStats) -> None:
        """Called before every epoch."""

    def budget(self) -> ClassBudget:
        """The factors on epsilon and step size for phase 1."""

    def weigh(self, batch: BatchStats) -> TermWeights:
        """The weights of this batch's classes, on the batch's device, without a host synchronisation."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, tensors and plain numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
