"""Signs that need no forward of their own: in what was asked, in the clean pass, in what is known of the training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.audit.misuse.gradients import GREY
from faal.config import Threat, epsilon_text

FEW = 30
"""Samples below which a class's accuracy is hardly more than its interval."""

FAINT = {"linf": 0.25 / 255, "l2": 16 / 255}
"""For each norm a radius that nobody means: a quarter of a grey level; twice what L-infinity's usual 8/255 would be."""

FACTOR = 8
"""Between the radius of the training and that of the audit a larger factor is rather a change of units."""


def remarks(
    *,
    training: bool,
    probabilities: bool,
    n: NDArray[np.int64],
    clean: float,
    classes: Sequence[str],
    drawn_from: int,
    seed: int,
) -> list[str]:
    """The sentences about model and data.

    Args:
        training: the model was found in training mode.
        probabilities: all of its clean outputs look like probabilities.
        n: (C,) samples per class.
        clean: its clean accuracy, with the classes renumbered that are seen to be numbered otherwise.
        classes: the classes' names.
        drawn_from: how many samples there were to draw from.
        seed: the audit's seed.
    """
    found = []
    if training:
        found.append("The model was handed over in training mode; it was audited in evaluation mode and set back.")
    if probabilities:
        found.append(
            f"The model's outputs look like probabilities, not logits (all {n.sum()} lie in [0, 1] and sum to 1): a "
            "softmax at the end hides gradients and makes attacks look weaker than they are; take it off and audit "
            "again."
        )
    absent = [name for name, size in zip(classes, n, strict=True) if not size]
    if absent:
        named = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        found.append(
            f"No sample shows {'1 class' if len(absent) == 1 else f'{len(absent)} classes'} of {len(n)} ({named}): the "
            "worst class is that of the others, and the low end of its interval is 0."
        )
    few = [c for c in np.argsort(n, kind="stable") if 0 < n[c] < FEW]
    if few:
        named = ", ".join(f"{classes[c]} ({n[c]})" for c in few[:5]) + (", ..." if len(few) > 5 else "")
        subject = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
        found.append(f"{subject} fewer than {FEW} samples, so that little can be said about each: {named}.")
    chance = 1 / len(n)
    if clean < chance + 0.1 * (1 - chance):
        found.append(
            f"The clean accuracy, {clean:.1%}, is near chance ({chance:.1%}): the model may expect normalised images "
            "or another order of the classes."
        )
    if n.sum() < drawn_from:
        found.append(f"{n.sum()} of {drawn_from} samples were audited, drawn at random with seed {seed}.")
    return found


def about_radius(threat: Threat, pixels: int, trained: Mapping[str, Any]) -> list[str]:
    """The sentences about epsilon.

    Args:
        threat: the audit's.
        pixels: numbers in an image, channels included.
        trained: the settings that the network was trained with, as far as they are known.
    """
    norm, epsilon = ("L2" if threat.norm == "l2" else "L-infinity"), threat.epsilon
    grey = GREY * (math.sqrt(pixels) if threat.norm == "l2" else 1)
    found = []
    if epsilon >= grey:
        found.append(
            f"Epsilon {epsilon_text(epsilon)} in {norm} turns every image into plain grey ({grey:.3g} is enough): "
            "nothing can be robust there, so that the figures say nothing; take a radius in units of [0, 1], such as "
            "8/255 in L-infinity or 0.5 in L2."
        )
    elif epsilon < FAINT[threat.norm]:
        level = 255 * epsilon / (math.sqrt(pixels) if threat.norm == "l2" else 1)
        found.append(
            f"Epsilon {epsilon_text(epsilon)} in {norm} is next to nothing (spread over {pixels} pixels it moves each "
            f"by {level:.2g} of 255 levels): the figures are hardly more than the clean ones; take a usual radius, "
            "such as 8/255 in L-infinity or 0.5 in L2."
        )
    own = trained.get("epsilon") if trained.get("norm", "linf") == threat.norm else None
    ratio = epsilon / own if own and trained.get("method") != "standard" else 1.0
    if own and max(ratio, 1 / ratio) > FACTOR * (1 + 1e-6):
        factor = f"{max(ratio, 1 / ratio):.3g} times as {'much' if ratio > 1 else 'little'}"
        found.append(
            f"The network was trained at epsilon {epsilon_text(own)} and audited at {epsilon_text(epsilon)}, {factor}: "
            "unless that is meant, one of the two is in another unit; both are in units of images in [0, 1], so audit "
            "again with the epsilon of the training."
        )
    return found


def about_choice(trained: Mapping[str, Any]) -> list[str]:
    """The sentence about an epoch that was chosen on test images, its own or that of a network that it came from."""
    if trained.get("select_on") != "test" or trained.get("select") == "last":
        if not trained.get("chosen_on_test"):
            return []
        return [
            "A network that this one was made from had its epoch chosen on test images, so that the figures are too "
            "good by what is left of that choice; start from one that was trained with select_on: held-out."
        ]
    return [
        "The epoch of this network was chosen on test images (select_on: test), so that its figures are too good by as "
        "much as the choice could find; train with select_on: held-out for figures to rely on."
    ]
