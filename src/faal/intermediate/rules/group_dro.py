"""Group DRO: exponentiated gradient on the class weights (Sagawa et al., ICLR 2020)."""

import torch
from torch import Tensor

from faal.intermediate.class_rule import ClassRule, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class GroupDRO(ClassRule):
    """q_c <- q_c exp(eta l_c) over the classes present, normalised; a sample weighs q_c / pi_c.

    l_c is the class mean of CE(adv), pi_c the class's share of the training set.

    Args:
        counts: (C,) images of each class in the training set.
        eta: step of the weights.
    """

    level = "batch"
    needs = frozenset({Need.CROSS_ENTROPY})
    any_groups = True
    STATE = ("q",)

    def __init__(self, counts: Tensor, *, eta: float = 0.01) -> None:
        self.eta = eta
        self.q = torch.full((len(counts),), 1 / len(counts))
        self.share = counts.float() / counts.sum()

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Move q, then weigh by it. An absent class's mean is 0, which leaves its q but for the norm."""
        q = self.q * torch.exp(self.eta * batch.mean(Need.CROSS_ENTROPY))
        self.q = q / q.sum()
        weights = self.q / self.share
        return TermWeights(clean=weights, robust=weights)
