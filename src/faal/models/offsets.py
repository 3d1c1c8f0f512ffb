"""Offsets: one constant per class, added to the logits of a network."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

OFFSETS, INNER = "offsets", "net."
"""In a state dict of `Offset`: the name of the offsets, and the prefix of the names of the network's own tensors."""


class Offset(nn.Module):
    """A network with one constant per class added to its logits: net(images) + offsets.

    The offsets are a buffer: no optimiser updates them. `.net` is the network without them.

    Args:
        net: returns logits (B, C).
        offsets: (C,) float32, in units of the logits.

    Example:
        >>> Offset(nn.Identity(), torch.tensor([0.5, -0.5]))(torch.zeros(1, 2))
        tensor([[ 0.5000, -0.5000]])
    """

    offsets: Tensor

    def __init__(self, net: nn.Module, offsets: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer(OFFSETS, offsets)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) in [0, 1] -> logits (B, C), in float32 or float64."""
        logits: Tensor = self.net(images) + self.offsets
        return logits


def with_offsets(weights: Mapping[str, Tensor], offsets: Tensor) -> dict[str, Tensor]:
    """The state dict of `Offset` around the network of a state dict."""
    return {OFFSETS: offsets, **{f"{INNER}{name}": tensor for name, tensor in weights.items()}}


def without_offsets(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the network within an `Offset`, from the state dict of that."""
    return {name.removeprefix(INNER): tensor for name, tensor in weights.items() if name != OFFSETS}


def merge_into_bias(net: Offset, inner: nn.Module, images: Tensor) -> str | None:
    """Add the offsets to the bias of the linear layer or convolution that computes the logits, if there is one.

    Test of a layer: if its bias changes by d (C,), the logits must change by d, for every image.

    Args:
        net: in evaluation mode; afterwards its own offsets are 0, unless there is no such layer.
        inner: the part of `net` whose layers are tested.
        images: (B, channels, H, W), the images of the test.

    Returns:
        The layer's name in `inner`; None where no layer passes, and nothing is changed.
    """
    with torch.no_grad():
        before = net(images)
        size = max(1.0, float(before.abs().max()))
        shift = size * torch.linspace(-1, 1, len(net.offsets))
        layers: list[tuple[str, nn.Module]] = list(inner.named_modules())
        for name, layer in reversed(layers):
            bias = getattr(layer, "bias", None)
            if not isinstance(layer, nn.Linear | nn.Conv2d) or bias is None or bias.shape != shift.shape:
                continue
            original = bias.clone()
            bias += shift
            if _close(net(images), before + shift, size):
                bias.copy_(original + net.offsets)
                net.offsets.zero_()
                return name
            bias.copy_(original)
    return None


def _close(logits: Tensor, expected: Tensor, size: float) -> bool:
    """Whether logits of magnitude `size` are equal up to the rounding of float32."""
    return bool(((logits - expected).abs() <= 1e-5 * size).all())
