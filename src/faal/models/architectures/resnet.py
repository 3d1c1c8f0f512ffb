"""ResNet (He et al. 2015, Deep Residual Learning for Image Recognition) for small images."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from faal.models.architectures.stages import conv1x1, conv3x3, stage


class BasicBlock(nn.Module):
    """3x3 convolution and BatchNorm, twice, with ReLU between and after the sum with the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()  # the identity, under the name of the projection
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(out + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """ResNet with the stem of CIFAR (3x3, stride 1, no pooling); ResNet-18 by default.

    Four stages of `width`, 2, 4 and 8 times `width` channels, or the first three of them, each but the first halving
    the size; average over the image, one linear layer. Parameters have the names of the public CIFAR networks, so their
    checkpoints load as they are.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        width: channels of the first stage.
        blocks: residual blocks per stage, two convolutions each.
        stages: how many stages.
    """

    def __init__(
        self, num_classes: int, *, channels: int = 3, width: int = 64, blocks: int = 2, stages: Literal[3, 4] = 4
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(BasicBlock, width, width, blocks, 1)
        self.layer2 = stage(BasicBlock, width, 2 * width, blocks, 2)
        self.layer3 = stage(BasicBlock, 2 * width, 4 * width, blocks, 2)
        self.layer4 = stage(BasicBlock, 4 * width, 8 * width, blocks, 2) if stages == 4 else None
        self.linear = nn.Linear(2 ** (stages - 1) * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), H and W of 8 or more -> logits (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        if self.layer4 is not None:
            x = self.layer4(x)
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits
