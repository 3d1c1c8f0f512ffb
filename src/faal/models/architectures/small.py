"""A small convolutional net, for digits of 8 x 8 pixels and for tests: trains on a CPU in seconds."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from faal.models.architectures.stages import conv3x3

NormLayer = Literal["batch", "group"]

GRID = 4
"""The last feature map is averaged to GRID x GRID, not to one value: the position of a stroke distinguishes digits."""

GROUPS = 8
"""Groups of a GroupNorm, or the largest common divisor with the channels."""


class SmallNet(nn.Module):
    """3x3 convolution, normalisation, ReLU, `depth` times; a coarse average; one linear layer.

    The first layer has `width` channels and does not change the resolution; all others have twice as many, and the
    second halves the resolution.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        width: channels of the first layer.
        depth: number of convolutions.
        norm: `batch`, or `group` for a network whose logits for an image do not depend on the rest of the batch.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        channels: int = 1,
        width: int = 16,
        depth: int = 3,
        norm: NormLayer = "batch",
    ) -> None:
        super().__init__()
        widths = [channels, width] + [2 * width] * (depth - 1)
        layers: list[nn.Module] = []
        for index in range(depth):
            outputs = widths[index + 1]
            layers += [
                conv3x3(widths[index], outputs, stride=2 if index == 1 else 1),
                nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(math.gcd(GROUPS, outputs), outputs),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(widths[-1] * GRID**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), H and W of 8 or more -> logits (B, num_classes)."""
        x: Tensor = self.features(images)
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(x, GRID).flatten(1))
        return logits
