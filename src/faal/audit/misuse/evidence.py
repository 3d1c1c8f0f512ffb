"""What a probe hands back, and which samples it asks.

Every probe that asks a part of the samples is a test with a stated chance of a false alarm: at most `chance.LEVEL`
where an honest model's share is at most the one that the probe grants.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faal.audit.blocks import Subject
from faal.engine.seeds import generator

HONEST = 0.1
"""The share of samples that may be odd in an honest model: without a gradient, or standing where nothing can stand."""

HARDLY = 0.5
"""Of a clean accuracy below this it is not clear whose fault it is."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a probe saw: `figures` for the record, and a sentence where they are a sign of misuse."""

    figures: dict[str, Any]
    warning: str | None = None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a probe: `images` (K, channels, H, W) and `labels` (K,) on the model's device, and on the CPU
    their `rows` (K,) among those that are audited."""

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice | Tensor) -> "Samples":
        """Some of them: a slice, or a mask (K,)."""
        rows = self.rows[part.cpu() if isinstance(part, Tensor) else part]
        return Samples(images=self.images[part], labels=self.labels[part], rows=rows)


def draw(subject: Subject, among: NDArray[np.bool_], most: int) -> Samples:
    """At most `most` of the samples where `among` (N,) is true, drawn with the audit's seed, in the data's order."""
    rows = torch.from_numpy(among).nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=generator("misuse", subject.seed))
    rows = rows[order[:most].sort().values]
    return Samples(
        images=subject.images.fetch(subject.index[rows]).to(subject.device),
        labels=subject.labels[rows].to(subject.device),
        rows=rows,
    )
