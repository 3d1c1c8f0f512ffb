"""What phase 2 looks at: class-wise means over one batch, over all processes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from faal import losses
from faal.engine import processes


class Need(StrEnum):
    """A statistic that a class rule asks for. Only what some rule asks for is computed."""

    MARGIN = "margin"
    """Softmax margin on the adversarial examples, class means over the batch (Eq. 10)."""
    CROSS_ENTROPY = "cross-entropy"
    """Cross-entropy on the adversarial examples, class means over the batch."""


PER_SAMPLE: dict[Need, Callable[[Tensor, Tensor], Tensor]] = {
    Need.MARGIN: losses.probability_margin,
    Need.CROSS_ENTROPY: losses.cross_entropy,
}


@dataclass(frozen=True, kw_only=True)
class BatchStats:
    """Sums and counts per class over one global batch."""

    counts: Tensor
    """(C,) float32, how many samples of each class."""
    sums: Mapping[Need, Tensor]
    """Per statistic (C,) float32."""

    @property
    def present(self) -> Tensor:
        """(C,) bool, the classes that the batch holds."""
        return self.counts > 0

    def mean(self, need: Need) -> Tensor:
        """(C,) class means; 0 for an absent class."""
        return self.sums[need] / self.counts.clamp_min(1)


def class_sums(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Sums of `values` (B,) by `classes` (B,) int64: (num_classes,) float32."""
    return torch.zeros(num_classes, device=values.device).index_add_(0, classes, values.float())


@torch.no_grad()
def batch_stats(logits: Tensor, labels: Tensor, classes: Tensor, num_classes: int, needs: Iterable[Need]) -> BatchStats:
    """The statistics of one batch, summed over the processes in one all-reduce.

    Args:
        logits: (B, C) on the adversarial examples.
        labels: (B,) int64, what the margin and the loss are taken against.
        classes: (B,) int64, what the means are grouped by: the labels, or any other groups.
        num_classes: number of classes (or groups).
        needs: the statistics wanted.
    """
    wanted = sorted(needs)
    values = [torch.ones(len(labels), device=logits.device)] + [PER_SAMPLE[need](logits, labels) for need in wanted]
    counts, *sums = processes.all_sum(*(class_sums(value, classes, num_classes) for value in values))
    return BatchStats(counts=counts, sums=dict(zip(wanted, sums, strict=True)))
