"""Made-up statistics for the tests of class rules: of a batch, of an evaluation, and the beginning of an epoch."""

from typing import Any

import torch

from faal.intermediate.class_rule import ClassRule, EpochStats
from faal.intermediate.class_stats import BatchStats, ClassMetrics, Need


def batch(counts: list[int], means: dict[Need, list[Any]] | None = None) -> BatchStats:
    """A batch with so many samples of each class and these class means; an absent class's mean does not count."""
    sizes = torch.tensor(counts, dtype=torch.float32)
    wide = {need: torch.tensor(mean, dtype=torch.float32) for need, mean in (means or {}).items()}
    return BatchStats(
        counts=sizes,
        sums={need: (mean.mT * sizes).mT if mean.dim() > 1 else mean * sizes for need, mean in wide.items()},
    )


def metrics(counts: list[int], **figures: list[Any]) -> ClassMetrics:
    """Figures of so many images of each class; those that are not given are 0."""
    sizes, nothing = torch.tensor(counts, dtype=torch.float32), [0.0] * len(counts)
    names = ("clean_error", "robust_error", "cross_entropy", "kl_divergence")
    confusion = torch.tensor(figures.get("confusion", [nothing] * len(counts)), dtype=torch.float32)
    return ClassMetrics(
        counts=sizes,
        confusion=confusion,
        **{name: torch.tensor(figures.get(name, nothing), dtype=torch.float32) for name in names},
    )


def begin(rule: ClassRule, epoch: int, epochs: int, found: ClassMetrics | None = None) -> None:
    """Begin an epoch of a rule."""
    rule.begin_epoch(EpochStats(epoch=epoch, epochs=epochs, metrics=found))
