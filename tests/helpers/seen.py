"""Made-up inputs of class rules: batch statistics, class metrics, and the beginning of an epoch."""

from typing import Any

import torch

from faal.intermediate.class_rule import ClassRule, EpochStats
from faal.intermediate.class_stats import BatchStats, ClassMetrics, Need


def batch(counts: list[int], means: dict[Need, list[Any]] | None = None) -> BatchStats:
    """A batch with `counts` samples of each class and these class means; that of an absent class is ignored."""
    sizes = torch.tensor(counts, dtype=torch.float32)
    wide = {need: torch.tensor(mean, dtype=torch.float32) for need, mean in (means or {}).items()}
    return BatchStats(
        counts=sizes,
        sums={need: (mean.mT * sizes).mT if mean.dim() > 1 else mean * sizes for need, mean in wide.items()},
    )


def sight(counts: list[int], **figures: list[Any]) -> ClassMetrics:
    """Metrics on `counts` images of each class; figures that are not given are 0."""
    sizes, nothing = torch.tensor(counts, dtype=torch.float32), [0.0] * len(counts)
    names = ("clean_error", "robust_error", "cross_entropy", "kl_divergence")
    confusion = torch.tensor(figures.get("confusion", [nothing] * len(counts)), dtype=torch.float32)
    return ClassMetrics(
        counts=sizes,
        confusion=confusion,
        **{name: torch.tensor(figures.get(name, nothing), dtype=torch.float32) for name in names},
    )


def begin(rule: ClassRule, epoch: int, epochs: int, metrics: ClassMetrics | None = None) -> None:
    """Begin an epoch of a rule."""
    rule.begin_epoch(EpochStats(epoch=epoch, epochs=epochs, sight=metrics))
