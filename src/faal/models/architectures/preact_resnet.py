"""PreAct ResNet (He et al. 2016, Identity Mappings in Deep Residual Networks) for small images."""

import torch.nn.functional as F
from torch import Tensor, nn

from faal.models.architectures.stages import conv1x1, conv3x3, stage


class PreActBlock(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice; then the shortcut is added, and nothing follows the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(conv1x1(inputs, outputs, stride)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x), inplace=True)
        # The projection takes the activated input, as in the code of robust overfitting and CFA. Some older public
        # networks (fast adversarial training) project `x` itself, with the same names: their weights load, but logits
        # are wrong.
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(active)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)), inplace=True))
        return out + shortcut


class PreActResNet(nn.Module):
    """PreAct ResNet with the stem of CIFAR (3x3, stride 1, no pooling); PreAct ResNet-18 by default.

    Four stages of `width`, 2, 4 and 8 times `width` channels, the last three halving the size; BatchNorm, ReLU,
    average over the image, one linear layer. Parameters have the names of the public CIFAR networks, so their
    checkpoints load unchanged.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        width: channels of the first stage.
        blocks: residual blocks per stage, two convolutions each.
    """

    def __init__(self, num_classes: int, *, channels: int = 3, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width)
        self.layer1 = stage(PreActBlock, width, width, blocks, 1)
        self.layer2 = stage(PreActBlock, width, 2 * width, blocks, 2)
        self.layer3 = stage(PreActBlock, 2 * width, 4 * width, blocks, 2)
        self.layer4 = stage(PreActBlock, 4 * width, 8 * width, blocks, 2)
        self.bn = nn.BatchNorm2d(8 * width)
        self.linear = nn.Linear(8 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), H and W of 8 or more -> logits (B, num_classes)."""
        x: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(images)))))
        x = F.relu(self.bn(x), inplace=True).mean(dim=(2, 3))
        logits: Tensor = self.linear(x)
        return logits
