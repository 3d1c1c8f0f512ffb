"""CFA: class-wise margins and regularisation from the last epoch's robust accuracy (Wei et al., CVPR 2023)."""

import torch
from torch import Tensor

from faal.config import epoch_of
from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget, ClassRule, EpochStats, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class CFA(ClassRule):
    """Class margins (CCM) and, with `regularised`, class regularisation of TRADES (CCR).

    With A_c the robust accuracy of class c during the training of the last epoch,

        epsilon_c = (lambda1 + A_c) epsilon
        beta_c = (lambda2 + A_c) beta,   loss = (1 + beta) (CE + beta_c KL) / (1 + beta_c)

    so that a class with beta_c = beta has the loss of TRADES.

    Args:
        counts: (C,) images of each class in the training set.
        regularised: whether beta is also scaled.
        beta: TRADES' beta.
        lambda1: the constant of the margins.
        lambda2: the constant of the regularisation.
        start: the fraction of the run after which both begin (epoch 10 of 200).
        divided: omit the factor 1 + beta, as published: TRADES' loss divided by 7.
    """

    level = "epoch"
    needs = frozenset({Need.CORRECT})
    STATE = ("correct", "counts", "accuracy", "acting")

    def __init__(
        self,
        counts: Tensor,
        *,
        regularised: bool = False,
        beta: float = 6.0,
        lambda1: float = 0.5,
        lambda2: float = 0.5,
        start: float = 1 / 20,
        divided: bool = False,
    ) -> None:
        if not 0 < lambda1 <= 1 or lambda2 < 0:
            raise InputError(f"CFA's lambda1 is above 0 and at most 1, lambda2 at least 0, not {lambda1} and {lambda2}")
        self.regularised, self.beta, self.divided = regularised, beta, divided
        self.lambda1, self.lambda2, self.start = lambda1, lambda2, start
        self.correct, self.counts = torch.zeros(len(counts)), torch.zeros(len(counts))
        self.accuracy = torch.zeros(len(counts))
        self.acting = False

    def first_epoch(self, epochs: int) -> int:
        """The epoch before the start, in which the accuracy is measured."""
        return 0 if self.divided else max(0, epoch_of(self.start, epochs) - 1)

    def is_active(self, epochs: int) -> bool:
        """Whether there is an epoch after the measured one."""
        return self.divided or max(1, epoch_of(self.start, epochs)) < epochs

    def begin_epoch(self, stats: EpochStats) -> None:
        """Compute the accuracy of the last epoch and reset the counts."""
        self.acting = stats.epoch > 0 and stats.progress >= self.start - 1e-9
        self.accuracy = self.correct / self.counts.clamp_min(1)
        self.correct, self.counts = torch.zeros_like(self.correct), torch.zeros_like(self.counts)

    def budget(self) -> ClassBudget:
        """CCM; the step size is unchanged."""
        return ClassBudget(epsilon=self.lambda1 + self.accuracy) if self.acting else ClassBudget()

    def weigh(self, batch: BatchStats) -> TermWeights:
        """CCR; also count the robust images."""
        self.correct = self.correct + batch.sums[Need.CORRECT]
        self.counts = self.counts + batch.counts
        ones = torch.ones_like(batch.counts)
        regularises = self.acting and self.regularised
        if not regularises and not (
            self.regularised and self.divided
        ):  # ones exactly: (1 + beta) / (1 + beta) may round
            return TermWeights(clean=ones, robust=ones)
        relative = self.lambda2 + self.accuracy if regularises else ones
        clean = (1.0 if self.divided else 1 + self.beta) / (1 + relative * self.beta)
        return TermWeights(clean=clean, robust=clean * relative)
