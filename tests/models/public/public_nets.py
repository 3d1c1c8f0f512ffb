"""PreActResNet and a ResNet of three stages written anew from their formulas, with the names of public code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PublicBlock(nn.Module):
    """y = conv2(ReLU(bn2(conv1(a)))) + s, with a = ReLU(bn1(x)); `rule`: s of a, x and the projection, if any."""

    def __init__(self, inputs: int, outputs: int, stride: int, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        projected, kept = {
            "preact-shortcut": (a, x),
            "input-shortcut": (x, x),
            "preact-identity": (a, a),
        }[self.rule]
        s = self.shortcut(projected) if hasattr(self, "shortcut") else kept
        return self.conv2(F.relu(self.bn2(self.conv1(a)))) + s


class PublicPreActResNet(nn.Module):
    def __init__(self, rule: str, *, last_norm: bool, width: int, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        inputs = width
        for number, outputs in enumerate((width, 2 * width, 4 * width, 8 * width), start=1):
            first = PublicBlock(inputs, outputs, 1 if number == 1 else 2, rule)
            setattr(self, f"layer{number}", nn.Sequential(first, PublicBlock(outputs, outputs, 1, rule)))
            inputs = outputs
        if last_norm:
            self.bn = nn.BatchNorm2d(inputs)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if hasattr(self, "bn"):
            x = F.relu(self.bn(x))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class PublicBasicBlock(nn.Module):
    """ReLU(bn2(conv2(ReLU(bn1(conv1(x))))) + s), s a 1x1 convolution and BatchNorm where the shape changes, else x."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class PublicResNet20(nn.Module):
    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        inputs = 16
        for number, outputs in enumerate((16, 32, 64), start=1):
            blocks = [PublicBasicBlock(inputs, outputs, 1 if number == 1 else 2)]
            blocks += [PublicBasicBlock(outputs, outputs, 1) for _ in range(2)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            inputs = outputs
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(x, x.shape[-1]).flatten(1))


def settled(net: nn.Module, channels: int = 3, size: int = 8, *, images: int = 640) -> nn.Module:
    """In evaluation mode, with the running statistics of random images and affine parameters of their own."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)
        net.train()
        for _ in range(20):
            net(torch.rand(images // 20, channels, size, size, generator=generator))
    return net.eval()
