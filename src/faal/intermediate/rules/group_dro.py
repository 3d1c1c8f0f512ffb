"""Group DRO: exponentiated gradient on the class weights (Sagawa et al., ICLR 2020)."""

import math

import torch
from torch import Tensor

from faal.intermediate.class_rule import ClassRule, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class GroupDRO(ClassRule):
    """q_c <- q_c exp(eta l_c) over the classes present, normalised; a sample has the weight q_c / pi_c.

    l_c is the class mean of CE(adv), pi_c the class's share of the training set.

    Args:
        counts: (C,) images of each class in the training set.
        eta: step size of the weights.
    """

    level = "batch"
    needs = frozenset({Need.CROSS_ENTROPY})
    any_groups = True
    STATE = ("log_q",)

    def __init__(self, counts: Tensor, *, eta: float = 0.01) -> None:
        self.eta = eta
        self.log_q = torch.full((len(counts),), -math.log(len(counts)))
        self.share = counts.float() / counts.sum()

    @property
    def q(self) -> Tensor:
        """(C,) the weights, with sum 1. Stored as logarithms: a weight that is 0 in float32 could not increase
        again."""
        return self.log_q.exp()

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Update q, then weight by it. An absent class has the mean 0: only the normalisation changes its q."""
        self.log_q = torch.log_softmax(self.log_q + self.eta * batch.mean(Need.CROSS_ENTROPY), dim=0)
        weights = self.q / self.share
        return TermWeights(clean=weights, robust=weights)
