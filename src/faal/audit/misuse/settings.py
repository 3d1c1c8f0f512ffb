"""Checks without a forward: of the audit's settings, its clean pass, and what is known of the training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.audit.misuse.gradient_masking import GREY
from faal.config import Threat, epsilon_text

FEW_SAMPLES = 30
"""With fewer samples the interval of a class's accuracy is too wide to conclude much."""

TINY_EPSILON = {"linf": 0.25 / 255, "l2": 16 / 255}
"""Per norm, an epsilon below which an error is likely: a quarter of a grey level; in L2 twice the 8/255 that is usual
in L-infinity."""

MAX_FACTOR = 8
"""Between the epsilon of the training and that of the audit; a larger factor indicates another unit."""


def setting_warnings(
    *,
    training: bool,
    probabilities: bool,
    n: NDArray[np.int64],
    clean: float,
    classes: Sequence[str],
    drawn_from: int,
    seed: int,
) -> list[str]:
    """The warnings about model and data.

    Args:
        training: the model was passed in training mode.
        probabilities: all of its clean outputs lie in [0, 1] and sum to 1.
        n: (C,) samples per class.
        clean: its clean accuracy, with permuted labels where classes are in another order.
        classes: the classes' names.
        drawn_from: samples in the data, before a limit.
        seed: the audit's seed.
    """
    found = []
    if training:
        found.append("The model was passed in training mode; it was audited in evaluation mode and then restored.")
    if probabilities:
        found.append(
            f"The model's outputs seem to be probabilities, not logits (all {n.sum()} lie in [0, 1] and sum to 1): a "
            "softmax at the end masks gradients and makes attacks appear weaker than they are; remove it and audit "
            "again."
        )
    absent = [name for name, size in zip(classes, n, strict=True) if not size]
    if absent:
        named = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        found.append(
            f"{len(absent)} of {len(n)} classes {'has' if len(absent) == 1 else 'have'} no samples ({named}): the "
            "worst class is that of the others, and the low end of its interval is 0."
        )
    few = [c for c in np.argsort(n, kind="stable") if 0 < n[c] < FEW_SAMPLES]
    if few:
        named = ", ".join(f"{classes[c]} ({n[c]})" for c in few[:5]) + (", ..." if len(few) > 5 else "")
        subject = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
        found.append(f"{subject} fewer than {FEW_SAMPLES} samples, so that the intervals are wide: {named}.")
    chance = 1 / len(n)
    if clean < chance + 0.1 * (1 - chance):
        found.append(
            f"The clean accuracy, {clean:.1%}, is near chance ({chance:.1%}): the model may expect normalised images "
            "or another order of the classes."
        )
    if n.sum() < drawn_from:
        found.append(f"{n.sum()} of {drawn_from} samples were audited, drawn at random with seed {seed}.")
    return found


def epsilon_warnings(threat: Threat, pixels: int, trained: Mapping[str, Any]) -> list[str]:
    """The warnings about epsilon.

    Args:
        threat: the audit's.
        pixels: values in an image, channels included.
        trained: the settings that the network was trained with, as far as they are known.
    """
    norm, epsilon = ("L2" if threat.norm == "l2" else "L-infinity"), threat.epsilon
    grey = GREY * (math.sqrt(pixels) if threat.norm == "l2" else 1)
    found = []
    if epsilon >= grey:
        found.append(
            f"Epsilon {epsilon_text(epsilon)} in {norm} can change every image to plain grey ({grey:.3g} is enough): "
            "no image can be robust there, and the accuracies mean nothing; choose an epsilon in units of [0, 1], such "
            "as 8/255 in L-infinity or 0.5 in L2."
        )
    elif epsilon < TINY_EPSILON[threat.norm]:
        level = 255 * epsilon / (math.sqrt(pixels) if threat.norm == "l2" else 1)
        found.append(
            f"Epsilon {epsilon_text(epsilon)} in {norm} is tiny (spread over {pixels} pixels it changes each by "
            f"{level:.2g} of 255 levels): robust and clean accuracies are almost equal; choose a usual epsilon, such "
            "as 8/255 in L-infinity or 0.5 in L2."
        )
    own = trained.get("epsilon") if trained.get("norm", "linf") == threat.norm else None
    ratio = epsilon / own if own and trained.get("method") != "standard" else 1.0
    if own and max(ratio, 1 / ratio) > MAX_FACTOR * (1 + 1e-6):
        factor = f"{max(ratio, 1 / ratio):.3g} times as {'much' if ratio > 1 else 'little'}"
        found.append(
            f"The network was trained at epsilon {epsilon_text(own)} and audited at {epsilon_text(epsilon)}, {factor}: "
            "unless that is meant, one of the two is in another unit; both are in units of images in [0, 1], so audit "
            "again with the epsilon of the training."
        )
    return found


def selection_warnings(trained: Mapping[str, Any]) -> list[str]:
    """The warning about an epoch that was chosen on test images, the network's own or that of one it was made from."""
    if trained.get("select_on") != "test" or trained.get("select") == "last":
        if not trained.get("chosen_on_test"):
            return []
        return [
            "The epoch of a network that this one was made from was chosen on test images, so that the accuracies are "
            "too high by what remains of that choice; start from one that was trained with select_on: held-out."
        ]
    return [
        "The epoch of this network was chosen on test images (select_on: test), so that its accuracies are too high by "
        "the gain of that choice; train with select_on: held-out."
    ]
