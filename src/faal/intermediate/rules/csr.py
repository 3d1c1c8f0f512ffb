"""CSR: confusions weighted by the leading singular vectors of the error matrix (confusional spectral regularisation,
ICLR 2025)."""

import torch
from torch import Tensor

from faal.intermediate.class_rule import ClassRule, EpochStats, EvaluationRequest, TermWeights
from faal.intermediate.class_stats import BatchStats


class CSR(ClassRule):
    """Before every epoch the training images are attacked; M[prediction, class] counts the confusions, diagonal 0.

    With M = U S V', G = u1 v1' scaled to [0.01, 2.01] weights the penalty CE(adv) of a sample, by prediction and class.

    Args:
        counts: (C,) images of each class in the training set.
        shrink: the fraction of the true logit that is subtracted before the prediction.
    """

    level = "epoch"
    STATE = ("penalty",)

    def __init__(self, counts: Tensor, *, shrink: float = 0.1) -> None:
        self.shrink = shrink
        self.penalty = torch.ones(len(counts), len(counts))

    def evaluation(self, epoch: int) -> EvaluationRequest:
        """PGD-10 on the training images."""
        return EvaluationRequest(part="train", loss="ce", steps=10, shrink=self.shrink)

    def begin_epoch(self, stats: EpochStats) -> None:
        """Decompose the confusions of the current network."""
        assert stats.metrics is not None
        errors = stats.metrics.confusion.double().fill_diagonal_(0)
        left, _, right = torch.linalg.svd(errors)
        leading = torch.outer(left[:, 0], right[0])
        low, high = leading.min(), leading.max()
        # With no confusions, or the same between all classes, there is no range to scale.
        scaled = 0.01 + 2 * (leading - low) / (high - low).clamp_min(1e-12)
        self.penalty = torch.where(errors.sum() > 0, scaled, torch.ones_like(scaled)).float()

    def epoch_factors(self) -> dict[str, Tensor]:
        """The penalty's weights by the true class, averaged over the predicted ones."""
        return super().epoch_factors() | {"penalty": self.penalty.mean(dim=0)}

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Equal weights for all classes; the penalty by predicted and true class."""
        ones = torch.ones_like(batch.counts)
        return TermWeights(clean=ones, robust=ones, penalty=self.penalty)
