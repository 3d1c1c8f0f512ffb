"""FRL: Lagrange multipliers of fairness constraints on held-out errors (Xu et al., ICML 2021)."""

import torch
from torch import Tensor

from faal.config import Schedule
from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget, ClassRule, EpochStats, EvaluationRequest, TermWeights
from faal.intermediate.class_stats import BatchStats

RATE = Schedule((0.0, 0.5), (0.05, 0.025))
"""It is halved after half of the run (40 of 80 epochs)."""


class FRL(ClassRule):
    """Reweight (RW), and with `margins` also remargin (RWRM).

    The constraints: no class's clean error, nor its boundary error (robust less clean), is more than `tolerance`
    above the average. In every epoch the multipliers are updated by the violation:

        lambda0 <- [lambda0 + rate g0]+     g0_c = clean error_c - clean error - tolerance
        lambda1 <- [lambda1 + 2 rate g1]+   g1_c = boundary error_c - boundary error - tolerance
        w_c = 1/C + lambda_c - mean lambda

    each lambda rescaled to the sum `limit` if it is larger, and epsilon_c = epsilon exp(2 lambda2_c), clipped, with
    lambda2 <- lambda2 + margin_rate g1.

    Args:
        counts: (C,) images of each class in the training set.
        margins: whether epsilon is scaled.
        tolerance: the permitted excess over the average, for both constraints.
        rate: step size of the multipliers over the run.
        margin_rate: step size of the margins' multipliers.
        limit: the largest sum of the multipliers of one constraint.
    """

    level = "epoch"
    steers = True
    STATE = ("clean", "boundary", "margin")

    def __init__(
        self,
        counts: Tensor,
        *,
        margins: bool = False,
        tolerance: float = 0.05,
        rate: Schedule = RATE,
        margin_rate: float = 0.2,
        limit: float = 0.5,
    ) -> None:
        if not 0 <= limit < 1:  # above, a class's weight may be negative, and a batch's sum to 0
            raise InputError(f"FRL's limit is at least 0 and below 1, not {limit}")
        self.margins, self.tolerance, self.limit = margins, tolerance, limit
        self.rate, self.margin_rate = rate, margin_rate
        self.clean, self.boundary, self.margin = (torch.zeros(len(counts)) for _ in range(3))

    def evaluation(self, epoch: int) -> EvaluationRequest:
        """Clean and PGD-20 errors on the steering part, before every epoch."""
        return EvaluationRequest(part="steer", loss="ce", steps=20)

    def begin_epoch(self, stats: EpochStats) -> None:
        """Update the multipliers."""
        assert stats.metrics is not None
        boundary_error = stats.metrics.robust_error - stats.metrics.clean_error
        clean = stats.metrics.clean_error - stats.metrics.overall(stats.metrics.clean_error) - self.tolerance
        boundary = boundary_error - stats.metrics.overall(boundary_error) - self.tolerance
        rate = self.rate.at(stats.progress)
        self.clean = self._limited(self.clean + rate * clean)
        self.boundary = self._limited(self.boundary + 2 * rate * boundary)
        self.margin = self.margin + self.margin_rate * boundary

    def _limited(self, multipliers: Tensor) -> Tensor:
        multipliers = multipliers.clamp_min(0)
        return multipliers * (self.limit / multipliers.sum().clamp_min(1e-12)).clamp_max(1)

    def budget(self) -> ClassBudget:
        """Epsilon by the margins' multipliers; the step size of the largest epsilon for all classes."""
        if not self.margins:
            return ClassBudget()
        epsilon = torch.exp(2 * self.margin).clamp(0.98, 3.0)
        return ClassBudget(epsilon=epsilon, step_size=epsilon.max().expand_as(epsilon))

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Both terms as weighted means, each over the weights of the batch's own samples."""
        return TermWeights(clean=self._normalised(self.clean, batch), robust=self._normalised(self.boundary, batch))

    def _normalised(self, multipliers: Tensor, batch: BatchStats) -> Tensor:
        weights = 1 / len(multipliers) + multipliers - multipliers.mean()
        return weights * batch.counts.sum() / (weights * batch.counts).sum()
