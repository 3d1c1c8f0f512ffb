"""Blends: networks whose weights are interpolated between two others of the same architecture."""

from collections.abc import Mapping

import torch
from torch import Tensor


def blended(base: Mapping[str, Tensor], repaired: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """(1 - share) base + share repaired for floating-point tensors; the repaired ones for all others.

    BatchNorm's running statistics are interpolated like the weights, which approximates those of the blend's
    activations; counters are the repaired network's.
    """
    return {
        name: torch.lerp(base[name].cpu(), after.cpu(), share) if after.is_floating_point() else after
        for name, after in repaired.items()
    }
