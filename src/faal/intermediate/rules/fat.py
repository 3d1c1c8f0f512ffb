"""FAT: the variance of the class losses as a penalty (Ma, Wang and Liu, NeurIPS 2022)."""

import torch
from torch import Tensor

from faal.errors import InputError
from faal.intermediate.class_rule import ClassRule, TermWeights
from faal.intermediate.class_stats import BatchStats, Need


class FAT(ClassRule):
    """L = mean CE(adv) + strength Var_c(l_c), l_c the class means of CE(adv) over the batch.

    The gradient of the variance is that of the class losses under detached weights 2 strength (l_c - mean l) / (C' - 1)
    over the C' classes present, so that a sample has the weight 1 + (B / n_c) times that. It may be negative.

    Args:
        counts: (C,) images of each class in the training set.
        strength: the factor of the variance.
        padded: compute the variance over a vector of this many entries, with loss 0 for classes that are not in the
            batch: 100 in the published code, for any data set; 0 means only the classes present.
    """

    level = "batch"
    needs = frozenset({Need.CROSS_ENTROPY})
    any_groups = True

    def __init__(self, counts: Tensor, *, strength: float = 0.1, padded: int = 0) -> None:
        if strength < 0 or (padded and padded < len(counts)):
            raise InputError(
                f"FAT's strength is at least 0, and padded 0 or at least the {len(counts)} classes, "
                f"not {strength} and {padded}"
            )
        self.strength, self.padded = strength, padded

    def weigh(self, batch: BatchStats) -> TermWeights:
        """1 plus the contribution of the variance."""
        means, present = batch.mean(Need.CROSS_ENTROPY), batch.present
        entries = torch.full_like(means[0], self.padded) if self.padded else present.sum()
        spread = (means - means.sum() / entries) / (entries - 1).clamp_min(1)
        share = batch.counts.sum() / batch.counts.clamp_min(1)
        # With fewer than two classes present the variance is 0.
        weights = torch.where(present, 1 + 2 * self.strength * share * spread, 0.0)
        return TermWeights(clean=weights, robust=weights)
