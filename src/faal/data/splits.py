"""What is withheld from training, so that nothing is chosen on the test set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from faal.data.classwise import places_in_class
from faal.engine.seeds import generator

SHARE = 25
"""Each part withholds one image in so many of a class: 4 %."""

LEAST = 20
"""Images that each part withholds of a class at the least."""

SMALLEST_CLASS = 200
"""A class with fewer images cannot spare any."""


class HeldOut(NamedTuple):
    """Disjoint parts of a training set, as sorted int64 indices into it.

    Attributes:
        train: what remains to train on.
        select: for the choice of a checkpoint, and for nothing else; empty where there is no choice.
        steer: for methods that look at held-out accuracy while they train (FRL, WAT, FAWA); may be empty.
        reason: why the parts that were asked for are empty, in words; None where they are not.
    """

    train: Tensor
    select: Tensor
    steer: Tensor
    reason: str | None


def hold_out(
    labels: Tensor, names: Sequence[str], *, select: bool, steer: bool, seed: int, kind: str = "class"
) -> HeldOut:
    """Split a training set, class by class (or by any other groups that are given for labels).

    Each part is 4 % of every class and at least 20 images of it. Where any class has fewer than 200 images both parts
    stay empty: there is then no selection, and the last epoch counts. Which images a part takes depends on the seed
    and the labels alone, not on whether the other part is taken.

    Args:
        labels: (N,) int64 in 0 .. C - 1, on the CPU.
        names: the C classes'; one without images counts as one with too few.
        select: whether to withhold the part that checkpoints are chosen on.
        steer: whether to withhold the part that some methods steer by.
        seed: the run's seed.
        kind: what they are, in words: `class` or `group`.
    """
    everything, nothing = torch.arange(len(labels)), torch.empty(0, dtype=torch.int64)
    if not (select or steer):
        return HeldOut(everything, nothing, nothing, None)
    counts = torch.bincount(labels, minlength=len(names))
    rarest = int(counts.argmin())
    if counts[rarest] < SMALLEST_CLASS:
        reason = (
            f"{kind} {names[rarest]!r} has {int(counts[rarest])} training images, fewer than {SMALLEST_CLASS}: "
            "none are held out, there is no selection, and the last epoch counts"
        )
        return HeldOut(everything, nothing, nothing, reason)

    place = places_in_class(labels, torch.randperm(len(labels), generator=generator(seed, "held out")))
    quota = (counts // SHARE).clamp(min=LEAST)[labels]
    chosen = (place < quota) & select
    steering = (place >= quota) & (place < 2 * quota) & steer
    train, selected, steered = (part.nonzero().flatten() for part in (~(chosen | steering), chosen, steering))
    return HeldOut(train, selected, steered, None)
