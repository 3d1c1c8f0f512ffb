"""CFOL: classes with more adversarial errors are sampled more often (Pethick et al., TMLR 2023)."""

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
        eta: increase of v per misclassified sample.
        sampled: draw the batches' classes by p; else weight the classes of uniformly sampled batches by p_c / pi_c,
            which has the same mean, with an increase of eta / pi_c.
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
        """p, if it samples the classes."""
        return self.probabilities if self.sampled else None

    def probabilities(self) -> Tensor:
        """The class probabilities p."""
        return self.gamma / len(self.v) + (1 - self.gamma) * torch.softmax(self.v, dim=0)

    def weigh(self, batch: BatchStats) -> TermWeights:
        """Ones if the batch was sampled by p; errors are counted in both cases."""
        p = self.probabilities()
        weights = torch.ones_like(p) if self.sampled else p / self.share
        # EXP3 divides by the sampling probability of a class, so that v increases by its error rate.
        sampling_probability = p if self.sampled else self.share
        self.v = self.v + self.eta * (batch.counts - batch.sums[Need.CORRECT]) / sampling_probability
        return TermWeights(clean=weights, robust=weights)
