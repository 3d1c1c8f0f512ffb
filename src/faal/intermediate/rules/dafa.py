"""DAFA: margin and weight are transferred between similar classes, from the easier to the harder (Lee et al., ICLR
2024)."""

import torch
from torch import Tensor

from faal.config import epoch_of
from faal.intermediate.class_rule import ClassBudget, ClassRule, EpochStats, TermWeights
from faal.intermediate.class_stats import BatchStats, Need

MIN_WEIGHT, MAX_WEIGHT = 0.1, 2.0


class DAFA(ClassRule):
    """After a warm-up of TRADES, fixed weights W from the class similarities of its last epoch.

    With S_ij the mean probability of class j on the adversarial examples of class i,

        W_i = 1 + strength sum_{j != i} ( S_ij S_jj  if S_ii < S_jj,  -S_ji S_ii  if S_ii > S_jj )

    epsilon_c = W_c epsilon, step_c = W_c step, and the clean term of class c has the weight W_c.

    Args:
        counts: (C,) images of each class in the training set.
        strength: lambda; 1 on CIFAR-10, 1.5 on CIFAR-100.
        start: the fraction of the run after which W is used (epoch 70 of 110).
        clamped: clamp W to [0.1, 2] and rescale it to a mean of 1; without, as published, a class that is confused
            with many others may have a negative weight.
    """

    level = "fixed"
    STATE = ("similarity", "counts", "weights", "noting")

    def __init__(self, counts: Tensor, *, strength: float = 1.0, start: float = 7 / 11, clamped: bool = True) -> None:
        self.strength, self.start, self.clamped = strength, start, clamped
        self.similarity, self.counts = torch.zeros(len(counts), len(counts)), torch.zeros(len(counts))
        self.weights = torch.ones(len(counts))
        self.noting = False

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]
        """The softmax probabilities, in the last epoch of the warm-up."""
        return frozenset({Need.PROBABILITIES}) if self.noting else frozenset()

    def first_epoch(self, epochs: int) -> int:
        """The last epoch of the warm-up."""
        return max(0, epoch_of(self.start, epochs) - 1)

    def is_active(self, epochs: int) -> bool:
        """Whether there is an epoch after that of the similarities."""
        return self.first_epoch(epochs) + 1 < epochs

    def begin_epoch(self, stats: EpochStats) -> None:
        """Measure the similarities in the warm-up's last epoch; compute W after it."""
        first = self.first_epoch(stats.epochs)
        self.noting = stats.epoch == first
        if stats.epoch == first + 1:
            self.weights = self._weights(self.similarity / self.counts.clamp_min(1)[:, None])

    def _weights(self, similarity: Tensor) -> Tensor:
        diagonal = similarity.diagonal()
        harder, easier = diagonal[:, None] < diagonal[None, :], diagonal[:, None] > diagonal[None, :]
        transfer = harder * similarity * diagonal[None, :] - easier * similarity.T * diagonal[:, None]
        weights: Tensor = 1 + self.strength * transfer.sum(dim=1)
        if not self.clamped:
            return weights
        weights = weights.clamp(MIN_WEIGHT, MAX_WEIGHT)
        return weights * len(weights) / weights.sum()

    def budget(self) -> ClassBudget:
        """W as the factor on epsilon and on the step size."""
        return ClassBudget(epsilon=self.weights, step_size=self.weights)

    def weigh(self, batch: BatchStats) -> TermWeights:
        """W for the clean term only."""
        if Need.PROBABILITIES in batch.sums:
            self.similarity = self.similarity + batch.sums[Need.PROBABILITIES]
            self.counts = self.counts + batch.counts
        return TermWeights(clean=self.weights, robust=torch.ones_like(self.weights))
