"""The hold-out: training images withheld from training, so that nothing is chosen on the test set."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from faal.data.classwise import ranks_in_class
from faal.engine.seeds import generator

SHARE = 25
"""Each part withholds one in 25 images of a class: 4 %."""

MIN_PER_CLASS = 20
"""The smallest number of images that each part withholds of a class."""

MIN_CLASS_SIZE = 200
"""Where a class has fewer images, none are withheld, unless small classes are allowed."""

SMALL_SHARE = 5
"""Of a class with fewer than 200 images each part withholds one in 5, where small classes are allowed."""

MIN_SMALL_CLASS_SIZE = 20
"""The smallest class of which images are withheld where small classes are allowed: then four are."""


class HeldOut(NamedTuple):
    """Disjoint parts of a training set, as sorted int64 indices into it.

    Attributes:
        train: the images to train on.
        select: only for the selection of the checkpoint; empty where none is selected.
        steer: for methods that evaluate on withheld images while they train (FRL, WAT, FAWA); may be empty.
        reason: the reason why requested parts are empty, as text; None where they are not.
    """

    train: Tensor
    select: Tensor
    steer: Tensor
    reason: str | None


def hold_out(
    labels: Tensor,
    names: Sequence[str],
    *,
    select: bool,
    steer: bool,
    seed: int,
    kind: Literal["class", "group"] = "class",
    small: bool = False,
) -> HeldOut:
    """Withhold images of a training set, class by class (or by any other groups that are given for labels).

    Each part is 4 % of every class and at least 20 images of it. Where any class has fewer than 200 images both parts
    are empty: no epoch is selected, and the last one is used. With `small`, a part has one in 5 images of such a class,
    and both are empty only where a class has fewer than 20. A part depends only on the seed and the labels, not on
    whether the other part is withheld.

    Args:
        labels: (N,) int64 in 0 .. C - 1, on the CPU.
        names: the C classes' names; a class without images has too few.
        select: whether to withhold the part that the checkpoint is chosen on.
        steer: whether to withhold the part that some methods evaluate on while they train.
        seed: the run's seed.
        kind: what `labels` are, for messages.
        small: whether images of classes with fewer than 200 are withheld.
    """
    everything, nothing = torch.arange(len(labels)), torch.empty(0, dtype=torch.int64)
    if not (select or steer):
        return HeldOut(everything, nothing, nothing, None)
    counts = torch.bincount(labels, minlength=len(names))
    rarest = int(counts.argmin())
    fewest = MIN_SMALL_CLASS_SIZE if small else MIN_CLASS_SIZE
    if counts[rarest] < fewest:
        reason = (
            f"{kind} {names[rarest]!r} has {int(counts[rarest])} training images, fewer than {fewest}: "
            "none are held out, there is no selection, and the last epoch is used"
        )
        return HeldOut(everything, nothing, nothing, reason)

    rank = ranks_in_class(labels, torch.randperm(len(labels), generator=generator(seed, "held out")))
    of_few, of_many = (counts // SMALL_SHARE).clamp(max=MIN_PER_CLASS), (counts // SHARE).clamp(min=MIN_PER_CLASS)
    quota = torch.where(counts < MIN_CLASS_SIZE, of_few, of_many)[labels]
    chosen = (rank < quota) & select
    steering = (rank >= quota) & (rank < 2 * quota) & steer
    train, selected, steered = (part.nonzero().flatten() for part in (~(chosen | steering), chosen, steering))
    return HeldOut(train, selected, steered, None)
