"""Test whether the images are scaled as the model expects: normalisation missing or applied twice, pixels in another
unit."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faal.audit.misuse.samples import WEAK_ACCURACY, CheckResult, Samples
from faal.audit.statistics.intervals import FALSE_ALARM, exceeds

DARK = 2 / 255
"""Images without a brighter pixel were probably divided by 255 twice."""

MIN_RISE = 0.05
"""The smallest increase of the clean accuracy under another scaling: a correctly scaled model may gain a little from
more contrast."""


@dataclass(frozen=True)
class Scaling:
    """Another scaling of the images."""

    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(images, mean, standard deviation); both (1, channels, 1, 1) are those of the images."""
    description: str
    """The operation on the images."""
    hint: str
    """Advice if it increases the accuracy; may contain `{statistics}`."""


SCALINGS = {
    "normalised": Scaling(
        lambda images, mean, deviation: (images - mean) / deviation,
        "normalised by their own mean and standard deviation",
        "is normalisation missing? --normalize {statistics}, or its own values",
    ),
    "centred": Scaling(
        lambda images, mean, deviation: 2 * images - 1,
        "scaled to [-1, 1]",
        "is normalisation missing? --normalize 0.5:0.5, or its own values",
    ),
    "levels": Scaling(
        lambda images, mean, deviation: 255 * images,
        "scaled to levels from 0 to 255",
        "does it divide by 255 itself?",
    ),
    "denormalised": Scaling(
        lambda images, mean, deviation: images * deviation + mean,
        "denormalised once (by their own mean and deviation)",
        "are they normalised twice?",
    ),
    "decentred": Scaling(
        lambda images, mean, deviation: (images + 1) / 2,
        "scaled from [-1, 1] to [0, 1]",
        "are they scaled to [-1, 1] twice?",
    ),
}


@torch.no_grad()
def input_scaling(model: nn.Module, samples: Samples) -> CheckResult:
    """Compare the clean accuracy with that under other scalings of the same images.

    The exact sign test over the samples that are predicted correctly under only one of two scalings, at `FALSE_ALARM`
    divided by the number of scalings; and an increase of at least `MIN_RISE`. If no scaling is truly better, the
    probability of a false alarm is at most `FALSE_ALARM`. A misuse with a loss below `MIN_RISE` is not detected. Up to
    six forward passes, one if the clean accuracy is near 1.

    A barely trained network may be better under another scaling by chance, which is then part of the warning.

    Args:
        model: the network.
        samples: drawn from all samples.
    """
    images, count = samples.images, len(samples)
    peak = float(images.max())
    correct = model(images).argmax(dim=1) == samples.labels
    accuracy = {"as_given": float(correct.float().mean())}
    values = {"samples": count, "brightest": peak, "accuracy": accuracy}
    if peak <= DARK:
        return CheckResult(
            values=values,
            warning=f"The brightest pixel of {count} images is {peak:.2g}: they seem to have been divided by 255 "
            "twice, so that a common epsilon exceeds their range; divide only once and audit again.",
        )
    if accuracy["as_given"] + MIN_RISE > 1:
        return CheckResult(values=values)

    mean, deviation = images.mean(dim=(0, 2, 3), keepdim=True), images.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3)
    significant = []
    for name, scaling in SCALINGS.items():
        predicted = _predictions(model, scaling.apply(images, mean, deviation))
        if predicted is None:
            continue
        correct_scaled = predicted == samples.labels
        accuracy[name] = float(correct_scaled.float().mean())
        newly_correct, newly_misclassified = (
            int((correct_scaled & ~correct).sum()),
            int((correct & ~correct_scaled).sum()),
        )
        if newly_correct - newly_misclassified >= MIN_RISE * count and exceeds(
            newly_correct, newly_correct + newly_misclassified, 0.5, FALSE_ALARM / len(SCALINGS)
        ):
            significant.append(name)
    if not significant:
        return CheckResult(values=values)
    best = max(significant, key=accuracy.__getitem__)
    weak = ", or the network is not trained enough for this test" if accuracy["as_given"] < WEAK_ACCURACY else ""
    numbers = (",".join(f"{value:.2f}" for value in part.flatten().tolist()) for part in (mean, deviation))
    return CheckResult(
        values=values,
        warning=f"The clean accuracy of {count} images rises from {accuracy['as_given']:.0%} to {accuracy[best]:.0%} "
        f"when they are {SCALINGS[best].description}: the model expects another scale, and the accuracies are too "
        f"low{weak}; scale them as in its training ({SCALINGS[best].hint.format(statistics=':'.join(numbers))}) and "
        "audit again.",
    )


def _predictions(model: nn.Module, images: Tensor) -> Tensor | None:
    """(B,) predictions; None for a model that fails on such images, and so does not expect them."""
    try:
        predicted: Tensor = model(images).argmax(dim=1)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # the model's own checks may raise anything
        return None
    return predicted
