"""Normalisation as part of the model, so that images are in [0, 1] and epsilon is in the same units for all models."""

import math

import torch
from torch import Tensor, nn

from faal.errors import InputError

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, one number per channel each, in units of the [0, 1] image."""

KNOWN: dict[str, Statistics] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
"""Means and deviations of the training images' pixels, as in public networks. (Some use the
deviations 0.2023, 0.1994, 0.2010 for CIFAR-10, the mean of the deviations of single images: pass those as
MEAN:STD.)"""


BGR = "bgr"
"""The suffix after `MEAN:STD:` for a network that expects the channels in BGR order."""


class Normalized(nn.Module):
    """A network with the normalisation that it expects: net((images - mean) / std).

    Args:
        net: its input is normalised images.
        mean: one number per channel, in RGB order.
        std: one number per channel, above 0.
        reverse: the network expects the channels in reverse order: blue, green, red.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], *, reverse: bool = False
    ) -> None:
        super().__init__()
        self.net = net
        self.reverse = reverse
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) in [0, 1] -> logits (B, C)."""
        normalised = (images - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)
        logits: Tensor = self.net(normalised.flip(1) if self.reverse else normalised)
        return logits


def parse_normalize(text: str, channels: int) -> Statistics | None:
    """Parse `none`, `cifar10`, `cifar100`, `MEAN:STD` or `MEAN:STD:bgr` (`reverses_channels`).

    MEAN and STD are one number for all channels, or one per channel, separated by commas: `0.5:0.25`,
    `0.49,0.48,0.45:0.25,0.24,0.26`.

    Returns:
        Mean and deviation of each channel; None for `none`.

    Raises:
        InputError: neither a known name nor one number per channel that fits images in [0, 1].
    """
    if text == "none":
        return None
    if reverses_channels(text) and channels != 3:
        raise InputError(f"normalize {text!r} reverses red, green and blue, and does not fit {_images(channels)}")
    plain = text.removesuffix(f":{BGR}")
    mean, std = KNOWN[plain] if plain in KNOWN else _numbers(plain)
    for values in (mean, std):
        if len(values) not in (1, channels):
            raise InputError(f"normalize {text!r} has {len(values)} numbers for {_images(channels)}")
    if not all(0 <= value <= 1 for value in mean) or not all(0 < value < math.inf for value in std):
        raise InputError(
            f"normalize {text!r} does not fit images in [0, 1]: every mean is in [0, 1] and every deviation above 0, "
            "so divide numbers for images in [0, 255] by 255"
        )
    return _per_channel(mean, channels), _per_channel(std, channels)


def same_normalisation(one: str, other: str, channels: int) -> bool:
    """Whether two texts specify the same normalisation, such as `cifar10` and its numbers."""
    return parse_normalize(one, channels) == parse_normalize(other, channels) and (
        reverses_channels(one) == reverses_channels(other)
    )


def reverses_channels(text: str) -> bool:
    """Whether a normalisation ends in `:bgr`: blue is the network's first channel, red its last."""
    return text.endswith(f":{BGR}")


def _numbers(text: str) -> Statistics:
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split(":"))
    except ValueError:
        raise InputError(
            f"normalize is none, {', '.join(KNOWN)} or MEAN:STD such as 0.5:0.25 or 0.49,0.48,0.45:0.25,0.24,0.26, "
            f"followed by :bgr for a network whose first channel is blue, not {text!r}"
        ) from None
    return mean, std


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _images(channels: int) -> str:
    return f"images of {channels} channel{'s' if channels > 1 else ''}"
