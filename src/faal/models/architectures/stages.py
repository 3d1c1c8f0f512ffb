"""Common layers of the residual networks: 3x3 and 1x1 convolutions without bias, and stages of blocks."""

from collections.abc import Callable

from torch import nn

Block = Callable[[int, int, int], nn.Module]
"""(input channels, output channels, stride) -> a residual block."""


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that does not change the size at stride 1. No bias: a BatchNorm follows or precedes it."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """The projection of a shortcut whose input and output differ in shape."""
    return nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)


def stage(block: Block, inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """A sequence of blocks; the first changes channels and size."""
    first = block(inputs, outputs, stride)
    return nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(blocks - 1)))
