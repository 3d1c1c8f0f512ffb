"""WAT: Hedge over the class losses and their average (Li and Liu, AAAI 2023)."""

import torch
from torch import Tensor

from faal.intermediate.class_rule import ClassRule, EpochStats, EvaluationRequest, TermWeights
from faal.intermediate.class_stats import BatchStats


class WAT(ClassRule):
    """C + 1 experts: each class's loss, and the average loss. Costs are summed over the epochs:

        w = C softmax(eta sum_t cost(t))        cost_c = CE_c + beta KL_c on held-out images

    The expert of the average weights every sample, so that a sample of class c has the weight w_c + w_{C+1}. Before the
    first evaluation all C + 1 weights are 1.

    Args:
        counts: (C,) images of each class in the training set.
        beta: weight of the KL in the cost, as in training.
        eta: learning rate of Hedge.
    """

    level = "epoch"
    steers = True
    STATE = ("costs", "weights")

    def __init__(self, counts: Tensor, *, beta: float = 6.0, eta: float = 0.1) -> None:
        self.beta, self.eta = beta, eta
        self.costs = torch.zeros(len(counts) + 1)
        self.weights = torch.ones(len(counts) + 1)

    def evaluation(self, epoch: int) -> EvaluationRequest | None:
        """TRADES' attack on the steering part, after every epoch but the last."""
        return EvaluationRequest(part="steer", loss="kl", start="gaussian", steps=10) if epoch > 0 else None

    def begin_epoch(self, stats: EpochStats) -> None:
        """Add the costs of the last epoch."""
        if stats.metrics is None:
            return
        cost = stats.metrics.cross_entropy + self.beta * stats.metrics.kl_divergence
        self.costs = self.costs + torch.cat([cost, stats.metrics.overall(cost)[None]])
        self.weights = (len(self.costs) - 1) * torch.softmax(self.eta * self.costs, dim=0)

    def weigh(self, batch: BatchStats) -> TermWeights:
        """The sum of the class's expert and the average's."""
        weights = self.weights[:-1] + self.weights[-1]
        return TermWeights(clean=weights, robust=weights)
