"""Checks without a forward: of the audit's settings, its clean pass, and the known settings of the training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.audit.misuse.gradient_masking import GREY
from faal.config import Threat, epsilon_text

FEW_SAMPLES = 30
"""With fewer samples the interval of a class's accuracy is too wide for conclusions."""

TINY_EPSILON = {"linf": 0.25 / 255, "l2": 16 / 255}
"""Norm -> an epsilon below which an error is likely: a quarter of a grey level; in L2 twice 8/255, the common value in
L-infinity."""

MAX_FACTOR = 8
"""The largest factor between the epsilon of the training and that of the audit; above it the units probably differ."""


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
        probabilities: all of its clean outputs are in [0, 1] and sum to 1.
        n: (C,) samples per class.
        clean: its clean accuracy, with permuted labels if the classes are in another order.
        classes: the classes' names.
        drawn_from: samples in the data, before a limit.
        seed: the audit's seed.
    """
    warnings = []
    if training:
        warnings.append("The model was passed in training mode; it was audited in evaluation mode and then restored.")
    if probabilities:
        warnings.append(
            f"The model's outputs seem to be probabilities, not logits (all {n.sum()} are in [0, 1] and sum to 1): a "
            "softmax at the end masks gradients and makes attacks appear weaker than they are; remove it and audit "
            "again."
        )
    absent = [name for name, size in zip(classes, n, strict=True) if not size]
    if absent:
        listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        warnings.append(
            f"{len(absent)} of {len(n)} classes {'has' if len(absent) == 1 else 'have'} no samples ({listed}): the "
            "worst class is that of the others, and the lower bound of its interval is 0."
        )
    few = [c for c in np.argsort(n, kind="stable") if 0 < n[c] < FEW_SAMPLES]
    if few:
        listed = ", ".join(f"{classes[c]} ({n[c]})" for c in few[:5]) + (", ..." if len(few) > 5 else "")
        subject = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
        warnings.append(f"{subject} fewer than {FEW_SAMPLES} samples, so that the intervals are wide: {listed}.")
    chance = 1 / len(n)
    if clean < chance + 0.1 * (1 - chance):
        warnings.append(
            f"The clean accuracy, {clean:.1%}, is near chance ({chance:.1%}): the model may expect normalised images "
            "or another order of the classes."
        )
    if n.sum() < drawn_from:
        warnings.append(f"{n.sum()} of {drawn_from} samples were audited, drawn at random with seed {seed}.")
    return warnings


def epsilon_warnings(threat: Threat, pixels: int, trained: Mapping[str, Any]) -> list[str]:
    """The warnings about epsilon.

    Args:
        threat: of the audit.
        pixels: values in an image, channels included.
        trained: the known settings of the network's training.
    """
    norm, epsilon = ("L2" if threat.norm == "l2" else "L-infinity"), threat.epsilon
    grey = GREY * (math.sqrt(pixels) if threat.norm == "l2" else 1)
    warnings = []
    if epsilon >= grey:
        warnings.append(
            f"Epsilon {epsilon_text(epsilon)} in {norm} can change every image to uniform grey ({grey:.3g} is enough): "
            "no image can be robust there, and the accuracies are meaningless; choose an epsilon in units of [0, 1], "
            "such as 8/255 in L-infinity or 0.5 in L2."
        )
    elif epsilon < TINY_EPSILON[threat.norm]:
        level = 255 * epsilon / (math.sqrt(pixels) if threat.norm == "l2" else 1)
        warnings.append(
            f"Epsilon {epsilon_text(epsilon)} in {norm} is tiny (distributed over {pixels} pixels it changes each by "
            f"{level:.2g} of 255 levels): robust and clean accuracies are almost equal; choose a common epsilon, such "
            "as 8/255 in L-infinity or 0.5 in L2."
        )
    training_epsilon = trained.get("epsilon") if trained.get("norm", "linf") == threat.norm else None
    ratio = epsilon / training_epsilon if training_epsilon and trained.get("method") != "standard" else 1.0
    if training_epsilon and max(ratio, 1 / ratio) > MAX_FACTOR * (1 + 1e-6):
        factor = f"{max(ratio, 1 / ratio):.3g} times as {'much' if ratio > 1 else 'little'}"
        warnings.append(
            f"The network was trained at epsilon {epsilon_text(training_epsilon)} and audited at "
            f"{epsilon_text(epsilon)}, {factor}: unless that is intended, one of the two is in another unit; both are "
            "in units of images in [0, 1], so audit again with the epsilon of the training."
        )
    return warnings


def selection_warnings(trained: Mapping[str, Any]) -> list[str]:
    """The warning about an epoch that was chosen on test images, of the network or of one of its bases."""
    if trained.get("select_on") != "test" or trained.get("select") == "last":
        if not trained.get("chosen_on_test"):
            return []
        return [
            "The epoch of a base of this network was chosen on test images, so that the accuracies may be too high; "
            "start from a network that was trained with select_on: held-out."
        ]
    return [
        "The epoch of this network was chosen on test images (select_on: test), so that its accuracies are too high by "
        "the gain of that selection; train with select_on: held-out."
    ]
