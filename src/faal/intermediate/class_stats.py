"""The statistics of class rules: class-wise means over one batch of all processes, and metrics on fixed images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from faal import losses
from faal.engine import processes


class Need(StrEnum):
    """A statistic of a batch. Only those that the rule needs are computed."""

    MARGIN = "margin"
    """Softmax margin on the adversarial examples, class means over the batch (Eq. 10)."""
    CROSS_ENTROPY = "cross-entropy"
    """Cross-entropy on the adversarial examples, class means over the batch."""
    CORRECT = "correct"
    """1 where the adversarial example is predicted correctly."""
    PROBABILITIES = "probabilities"
    """The softmax on the adversarial examples: per true class a row of C class means."""


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).float()


def _probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    return F.softmax(losses.upcast(logits), dim=1)


PER_SAMPLE: dict[Need, Callable[[Tensor, Tensor], Tensor]] = {
    Need.MARGIN: losses.probability_margin,
    Need.CROSS_ENTROPY: losses.cross_entropy,
    Need.CORRECT: _correct,
    Need.PROBABILITIES: _probabilities,
}


@dataclass(frozen=True, kw_only=True)
class BatchStats:
    """Sums and counts per class over one global batch."""

    counts: Tensor
    """(C,) float32, the number of samples of each class."""
    sums: Mapping[Need, Tensor]
    """Per statistic (C,) float32; for the probabilities (C, C), a row per true class."""

    @property
    def present(self) -> Tensor:
        """(C,) bool, the classes with samples in the batch."""
        return self.counts > 0

    def mean(self, need: Need) -> Tensor:
        """Class means, of the sums' shape; 0 for an absent class."""
        sums = self.sums[need]
        return sums / self.counts.clamp_min(1).view(-1, *[1] * (sums.dim() - 1))


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """A network's class-wise metrics on a fixed set of images, clean and under one attack; on the device."""

    counts: Tensor
    """(C,) images of each class."""
    clean_error: Tensor
    """(C,) fraction misclassified, clean."""
    robust_error: Tensor
    """(C,) fraction misclassified, clean or under the attack."""
    cross_entropy: Tensor
    """(C,) mean cross-entropy, clean."""
    kl_divergence: Tensor
    """(C,) mean KL(p(x) || p(x_adv))."""
    confusion: Tensor
    """(C, C) counts under the attack, by predicted and true class."""

    def overall(self, metric: Tensor) -> Tensor:
        """The mean over the images of a class-wise `metric` (C,): a scalar."""
        return (metric * self.counts).sum() / self.counts.sum()


def class_sums(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Sums of `values` (B, ...) by `classes` (B,) int64: (num_classes, ...) float32."""
    sums = torch.zeros(num_classes, *values.shape[1:], dtype=torch.float32, device=values.device)
    return sums.index_add_(0, classes, values.float())


def batch_stats(logits: Tensor, labels: Tensor, classes: Tensor, num_classes: int, needs: Iterable[Need]) -> BatchStats:
    """The statistics of one batch, summed over the processes in one all-reduce.

    Args:
        logits: (B, C) on the adversarial examples; no gradient flows into them.
        labels: (B,) int64, for the margin and the loss.
        classes: (B,) int64, the groups of the means: the labels, or any other groups.
        num_classes: number of classes (or groups).
        needs: the statistics to compute.
    """
    names, constant = sorted(needs), logits.detach()
    ones = torch.ones(len(labels), dtype=torch.float32, device=logits.device)
    values = [ones] + [PER_SAMPLE[need](constant, labels) for need in names]
    counts, *sums = processes.all_sum(*(class_sums(value, classes, num_classes) for value in values))
    return BatchStats(counts=counts, sums=dict(zip(names, sums, strict=True)))
