"""PreAct ResNet (He et al. 2016, Identity Mappings in Deep Residual Networks) for small images, in the forms of public
code."""

from functools import partial
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from faal.models.architectures.stages import conv1x1, conv3x3, stage

ShortcutName = Literal["preact-shortcut", "input-shortcut", "preact-identity"]
"""What a block adds to its convolutions, with a = ReLU(BatchNorm(x)) and P the projection of a block that changes the
shape: P(a) or x; P(x) or x; P(a) or a."""


class Form(NamedTuple):
    """One of the networks that public code calls PreActResNet."""

    shortcut: ShortcutName = "preact-shortcut"
    last_norm: bool = True
    """Whether BatchNorm and ReLU precede the average over the image."""


PLAIN = Form()

FORMS: dict[str, Form] = {
    f"{shortcut}{'' if last_norm else '-no-last-bn'}": Form(shortcut, last_norm)
    for last_norm in (True, False)
    for shortcut in ("preact-shortcut", "input-shortcut", "preact-identity")
}
"""Their names, the first that of this program's own checkpoints. Those with the last BatchNorm have the same names of
tensors, and so have those without it: a file of weights does not tell them apart."""


class PreActBlock(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice; then the shortcut is added, and nothing follows the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, shortcut: ShortcutName = "preact-shortcut") -> None:
        super().__init__()
        self.form = shortcut
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(conv1x1(inputs, outputs, stride)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x), inplace=True)
        shortcut: Tensor
        if self.shortcut is None:
            shortcut = active if self.form == "preact-identity" else x
        else:
            shortcut = self.shortcut(x if self.form == "input-shortcut" else active)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)), inplace=True))
        return out + shortcut


class PreActResNet(nn.Module):
    """PreAct ResNet with the stem of CIFAR (3x3, stride 1, no pooling); PreAct ResNet-18 by default.

    Four stages of `width`, 2, 4 and 8 times `width` channels, the last three halving the size; BatchNorm and ReLU, if
    `form` has them; average over the image, one linear layer. Parameters have the names of the public CIFAR networks,
    so their checkpoints load as they are.

    Args:
        num_classes: number of logits.
        channels: channels of the images.
        width: channels of the first stage.
        blocks: residual blocks per stage, two convolutions each.
        form: which of the public networks.
    """

    def __init__(
        self, num_classes: int, *, channels: int = 3, width: int = 64, blocks: int = 2, form: Form = PLAIN
    ) -> None:
        super().__init__()
        block = partial(PreActBlock, shortcut=form.shortcut)
        self.conv1 = conv3x3(channels, width)
        self.layer1 = stage(block, width, width, blocks, 1)
        self.layer2 = stage(block, width, 2 * width, blocks, 2)
        self.layer3 = stage(block, 2 * width, 4 * width, blocks, 2)
        self.layer4 = stage(block, 4 * width, 8 * width, blocks, 2)
        self.bn = nn.BatchNorm2d(8 * width) if form.last_norm else None
        self.linear = nn.Linear(8 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), H and W of 8 or more -> logits (B, num_classes)."""
        x: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(images)))))
        if self.bn is not None:
            x = F.relu(self.bn(x), inplace=True)
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits
