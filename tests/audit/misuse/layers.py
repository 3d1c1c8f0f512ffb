"""Layers before or after a network that make an audit of it misleading."""

import copy
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    """A function of images or logits."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x)
        return result


SOFTMAX = Layer(lambda logits: logits.softmax(dim=1))
DROPOUT = Layer(lambda images: F.dropout(images, 0.1))
ROUNDING = Layer(lambda images: (4 * images).round() / 4)
SATURATED = Layer(lambda logits: 1000 * logits)
REVERSED = Layer(lambda images: 2 * images.detach() - images)
"""The image itself, with a gradient that points the other way."""
DECIDED = Layer(lambda logits: F.one_hot(logits.argmax(dim=1), logits.shape[1]).float())
NORMALISED = Layer(lambda images: (images - 0.3) / 0.4)
LEVELS = Layer(lambda images: images / 255)


def chain(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules).eval()


def on_batch_statistics(net: nn.Module) -> nn.Module:
    """A copy whose BatchNorm has none of its own, and so uses the batch's."""
    copied = copy.deepcopy(net)
    for module in copied.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean = module.running_var = None
            module.track_running_stats = False
    return copied
