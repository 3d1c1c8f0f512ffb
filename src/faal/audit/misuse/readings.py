"""Whether the model was shown the images that it expects: normalisation missing or double, pixels in another unit."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faal.audit.misuse.evidence import HARDLY, Finding, Samples
from faal.audit.statistics.chance import LEVEL, exceeds

SQUEEZED = 2 / 255
"""Images without a brighter pixel were divided by 255 once too often."""

RISE = 0.05
"""By how much another reading has to raise the clean accuracy: an honest model may like its images a little starker."""


@dataclass(frozen=True)
class Reading:
    """Another way to take the images."""

    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(images, mean, deviation), the latter (1, channels, 1, 1) of the images themselves."""
    how: str
    """What is done to the images."""
    doubt: str
    """What to look into when it helps; may name the `{statistics}`."""


READINGS = {
    "normalised": Reading(
        lambda images, mean, deviation: (images - mean) / deviation,
        "normalised by their own mean and deviation",
        "is normalisation missing? --normalize {statistics}, or its own numbers",
    ),
    "centred": Reading(
        lambda images, mean, deviation: 2 * images - 1,
        "scaled to [-1, 1]",
        "is normalisation missing? --normalize 0.5:0.5, or its own numbers",
    ),
    "levels": Reading(
        lambda images, mean, deviation: 255 * images,
        "given in levels from 0 to 255",
        "does it divide by 255 itself?",
    ),
    "denormalised": Reading(
        lambda images, mean, deviation: images * deviation + mean,
        "freed of one normalisation (by their own mean and deviation)",
        "are they normalised twice?",
    ),
    "decentred": Reading(
        lambda images, mean, deviation: (images + 1) / 2,
        "taken back from [-1, 1] to [0, 1]",
        "are they scaled to [-1, 1] twice?",
    ),
}


@torch.no_grad()
def readings(model: nn.Module, samples: Samples) -> Finding:
    """Compare the clean accuracy with that under other readings of the same images.

    The exact sign test over the samples that only one of two readings gets right, at `LEVEL` divided by the readings;
    and a rise of `RISE` at least. Where no reading is better in truth, the chance of a false alarm is at most `LEVEL`.
    A misuse that costs less than `RISE` is not seen. Up to six forwards, one where the clean accuracy is near 1.

    A network that has hardly learnt anything may like other images better in truth, by chance of its training: of
    those the sentence says so.

    Args:
        model: the network.
        samples: drawn from all, right and wrong.
    """
    images, count = samples.images, len(samples)
    peak = float(images.max())
    right = model(images).argmax(dim=1) == samples.labels
    accuracy = {"as_given": float(right.float().mean())}
    figures = {"samples": count, "brightest": peak, "accuracy": accuracy}
    if peak <= SQUEEZED:
        return Finding(
            figures=figures,
            warning=f"The brightest pixel of {count} images is {peak:.2g}: they seem to have been divided by 255 "
            "twice, so that a usual epsilon exceeds all that they show; divide once and audit again.",
        )
    if accuracy["as_given"] + RISE > 1:
        return Finding(figures=figures)

    mean, deviation = images.mean(dim=(0, 2, 3), keepdim=True), images.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3)
    decisive = []
    for name, reading in READINGS.items():
        answers = _answers(model, reading.apply(images, mean, deviation))
        if answers is None:
            continue
        under = answers == samples.labels
        accuracy[name] = float(under.float().mean())
        gained, lost = int((under & ~right).sum()), int((right & ~under).sum())
        if gained - lost >= RISE * count and exceeds(gained, gained + lost, 0.5, LEVEL / len(READINGS)):
            decisive.append(name)
    if not decisive:
        return Finding(figures=figures)
    best = max(decisive, key=accuracy.__getitem__)
    weak = ", or the network has learnt too little to tell" if accuracy["as_given"] < HARDLY else ""
    numbers = (",".join(f"{value:.2f}" for value in part.flatten().tolist()) for part in (mean, deviation))
    return Finding(
        figures=figures,
        warning=f"The clean accuracy of {count} images rises from {accuracy['as_given']:.0%} to {accuracy[best]:.0%} "
        f"when they are {READINGS[best].how}: model and images do not fit, and the figures are too low{weak}; feed it "
        f"as in its training ({READINGS[best].doubt.format(statistics=':'.join(numbers))}) and audit again.",
    )


def _answers(model: nn.Module, images: Tensor) -> Tensor | None:
    """(B,) classes; None from a model that refuses such images, which then does not expect them."""
    try:
        answers: Tensor = model(images).argmax(dim=1)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # its own checks may raise anything
        return None
    return answers
