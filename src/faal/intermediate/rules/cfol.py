"""CFOL: classes are drawn more often the more of their adversarial examples succeed (Pethick et al., TMLR 2023)."""

from collections.abc import Callable

import torch
from torch import Tensor

from faal.errors import InputError
from faal.intermediate.class_rule import ClassRule, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class CFOL(ClassRule):
    """EXP3 over the classes: p = gamma U + (1 - gamma) softmax(v), and eta / p_c is added to v_c for every error.

    Args:
        counts: (C,) images of each class in the training set.
        gamma: the uniform part of p.
        eta: step of v per misclassified sample.
        sampled: draw the batches' classes by p; else weight the classes of uniformly sampled batches by p_c / pi_c,
            which has the same mean, as has a gain of eta / pi_c.
    """

    level = "batch"
    needs = frozenset({Need.CORRECT})
    STATE = ("v",)

    def __init__(self, counts: Tensor, *, gamma: float = 0.5, eta: float = 5e-6, sampled: bool = True) -> None:
        if not 0 < gamma <= 1 or eta < 0:
            raise InputError(f"CFOL's gamma is above 0 and at most 1, eta at least 0, not {gamma} and {eta}")
        self.gamma, self.eta = gamma, eta
        self.sampled = sampled
        self.v = torch.zeros(len(counts))
        self.share = counts.float() / counts.sum()

    @property
    def sampling(self) -> Callable[[], Tensor] | None:
        """p, where it draws the batches."""
        return self.probabilities if self.sampled else None

    def probabilities(self) -> Tensor:
        """p."""
        return self.gamma / len(self.v) + (1 - self.gamma) * torch.softmax(self.v, dim=0)

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Ones where the batch was drawn by p; count the errors either way."""
        p = self.probabilities()
        weights = torch.ones_like(p) if self.sampled else p / self.share
        # EXP3 divides by the probability that a class was sampled with, so that v increases by its error rate alone.
        drawn = p if self.sampled else self.share
        self.v = self.v + self.eta * (batch.counts - batch.sums[Need.CORRECT]) / drawn
        return TermWeights(clean=weights, robust=weights)
