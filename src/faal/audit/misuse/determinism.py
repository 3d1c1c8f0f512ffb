"""Test whether the logits of an image depend only on that image: equal at every call, and in any batch."""

import torch
from torch import Tensor, nn

from faal.audit.misuse.samples import CheckResult, Samples

ROUNDING = 1e-3
"""Logits are equal if they differ by at most this fraction of the logits' range. Float32 rounds at 1e-7 per
operation."""


@torch.no_grad()
def determinism(model: nn.Module, samples: Samples) -> CheckResult:
    """Evaluate a batch twice, and again in two halves.

    A deterministic model's logits differ only by rounding: no false alarm. Cost: three forward passes.
    """
    images = samples.images
    first, again = model(images), model(images)
    in_halves = torch.cat([model(half) for half in images.chunk(2)]) if len(images) >= 4 else first
    scale = float(first.max() - first.min())
    values = {
        "samples": len(images),
        "changed_on_repeat": _changed(first, again),
        "difference_on_repeat": _difference(first, again),
        "changed_in_halves": _changed(first, in_halves),
        "difference_in_halves": _difference(first, in_halves),
    }
    if values["difference_on_repeat"] > ROUNDING * scale:
        return CheckResult(
            values=values,
            warning=f"The model's logits for the same images differ from call to call (by up to "
            f"{values['difference_on_repeat']:.3g}; {values['changed_on_repeat']} of {len(images)} predictions "
            "change): something in its forward is random, so that every verdict is one random draw and attacks "
            "appear weaker than they are; switch it off (dropout, noise, random resizing) and audit again.",
        )
    if values["difference_in_halves"] > ROUNDING * scale:
        return CheckResult(
            values=values,
            warning=f"The model's logits for an image depend on the others in its batch (by up to "
            f"{values['difference_in_halves']:.3g}; {values['changed_in_halves']} of {len(images)} predictions "
            "change when the batch is halved): the accuracies are those of these batches, not of the images; BatchNorm "
            "without running statistics does this, so enable them (track_running_stats=True) and audit again.",
        )
    return CheckResult(values=values)


def _changed(first: Tensor, second: Tensor) -> int:
    return int((first.argmax(dim=1) != second.argmax(dim=1)).sum())


def _difference(first: Tensor, second: Tensor) -> float:
    """The largest absolute difference; the largest finite number if one is NaN."""
    return float((first - second).abs().nan_to_num(nan=torch.finfo(first.dtype).max).max())
