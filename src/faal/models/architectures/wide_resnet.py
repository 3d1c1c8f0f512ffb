"""Wide ResNet (Zagoruyko & Komodakis 2016), without dropout, as in adversarial training."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from faal.errors import InputError
from faal.models.architectures.stages import conv1x1, conv3x3, stage

STEM = 16
"""Channels of the first convolution; the stages have 16, 32 and 64 times the widening factor."""


class WideBlock(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice; a shortcut whose channels change projects the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        changes = stride != 1 or inputs != outputs
        self.convShortcut = conv1x1(inputs, outputs, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x), inplace=True)
        shortcut: Tensor = x if self.convShortcut is None else self.convShortcut(active)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)), inplace=True))
        return out + shortcut


class WideResNet(nn.Module):
    """WRN-depth-widen; WRN-34-10 by default.

    Three stages, the last two halving the size; BatchNorm, ReLU, average over the image, one linear layer. Parameters
    have the names of TRADES' public network, so its checkpoints, and those of many derived from it, load unchanged.
    Convolutions are initialised by He's normal distribution over the fan-out, the bias of the linear layer by zeros.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        depth: 6n + 4 for n blocks per stage.
        widen: the widening factor.

    Raises:
        InputError: no such depth.
    """

    def __init__(self, num_classes: int, *, channels: int = 3, depth: int = 34, widen: int = 10) -> None:
        super().__init__()
        blocks, remainder = divmod(depth - 4, 6)
        if blocks < 1 or remainder:
            raise InputError(f"a Wide ResNet's depth is 6n + 4, so 10, 16, 22, 28, 34 and so on, not {depth}")
        self.conv1 = conv3x3(channels, STEM)
        self.block1 = _named(stage(WideBlock, STEM, 16 * widen, blocks, 1))
        self.block2 = _named(stage(WideBlock, 16 * widen, 32 * widen, blocks, 2))
        self.block3 = _named(stage(WideBlock, 32 * widen, 64 * widen, blocks, 2))
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), H and W of 8 or more -> logits (B, num_classes)."""
        x: Tensor = self.block3(self.block2(self.block1(self.conv1(images))))
        x = F.relu(self.bn1(x), inplace=True).mean(dim=(2, 3))
        logits: Tensor = self.fc(x)
        return logits


def _named(blocks: nn.Sequential) -> nn.Sequential:
    """A stage with the names of public checkpoints, `block1.layer.0`."""
    return nn.Sequential(OrderedDict(layer=blocks))
