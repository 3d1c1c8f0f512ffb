"""The candidates of a repair: the base, each epoch, blends of both, and offsets on these."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from faal.repair.choice import BASE

SHARES = (0.25, 0.5, 0.75)
"""The weight of the epoch in a blend with the base."""

PARTS = (1.0, 0.5)
"""The parts of the offsets that were found which are candidates."""


@dataclass(frozen=True)
class RepairCandidate:
    """A network: a blend of the base and an epoch, with offsets or without."""

    epoch: int | None = None
    """From 0; None for the base."""
    share: float = 1.0
    """The weight of the epoch; that of the base is the rest."""
    offsets: tuple[float, ...] | None = None
    """C numbers, added to the logits; None: those of the network, or none."""
    part: float = 1.0
    """The part that these are of the offsets that the search found."""

    @property
    def name(self) -> str:
        """Such as `epoch 1`, `1/2 epoch 1 + 1/2 base + offsets`; epochs are counted from 0, as in the log."""
        name = BASE if self.epoch is None else f"epoch {self.epoch}"
        if self.share < 1:
            name = f"{Fraction(self.share)} {name} + {Fraction(1 - self.share)} {BASE}"
        if self.offsets is not None:
            name += " + offsets" if self.part == 1 else f" + {Fraction(self.part)} offsets"
        return name

    @property
    def without_offsets(self) -> "RepairCandidate":
        """The same without offsets of its own."""
        return replace(self, offsets=None, part=1.0)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "RepairCandidate":
        """From plain values. Raises KeyError, TypeError or ValueError where they are not such."""
        offsets = plain["offsets"]
        return cls(
            epoch=None if plain["epoch"] is None else int(plain["epoch"]),
            share=float(plain["share"]),
            offsets=None if offsets is None else tuple(float(each) for each in offsets),
            part=float(plain["part"]),
        )


def with_parts(candidate: RepairCandidate, before: Tensor, found: Tensor) -> list[RepairCandidate]:
    """The candidates with the offsets that a search found, and with parts of them.

    Args:
        candidate: the network of the search.
        before: (C,) the offsets that the search began with.
        found: (C,) those that it found; equal to `before` where none are better.
    """
    if torch.equal(before, found):
        return []
    offsets = [(part, tuple((before + part * (found - before)).tolist())) for part in PARTS]
    return [replace(candidate, offsets=values, part=part) for part, values in offsets]
