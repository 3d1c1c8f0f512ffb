"""The samples that a check evaluates, and the result that it returns.

Every check on a part of the samples is a test with a bound on the probability of a false alarm: at most
`intervals.FALSE_ALARM` if a valid model's fraction is at most that of the check.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faal.audit.blocks import Subject, fetch_clamped
from faal.engine.seeds import generator

MAX_VALID_FRACTION = 0.1
"""The largest fraction of a valid model's samples without a gradient, or robust at an epsilon where none can be."""

WEAK_ACCURACY = 0.5
"""Below this clean accuracy the cause may be the network itself, which is then part of the warnings."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of a check: `values` for the record, and a warning if they indicate misuse."""

    values: dict[str, Any]
    warning: str | None = None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a check: `images` (K, channels, H, W) and `labels` (K,) on the model's device, and on the CPU
    their `rows` (K,) among the audited samples."""

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice | Tensor) -> "Samples":
        """A part of the samples: a slice, or a mask (K,)."""
        rows = self.rows[part.cpu() if isinstance(part, Tensor) else part]
        return Samples(images=self.images[part], labels=self.labels[part], rows=rows)


def draw(subject: Subject, among: NDArray[np.bool_], most: int) -> Samples:
    """At most `most` of the samples where `among` (N,) is true, drawn with the audit's seed, in the data's order."""
    rows = torch.from_numpy(among).nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=generator("misuse", subject.seed))
    rows = rows[order[:most].sort().values]
    return Samples(
        images=fetch_clamped(subject.images, subject.index[rows])[0].to(subject.device),
        labels=subject.labels[rows].to(subject.device),
        rows=rows,
    )
