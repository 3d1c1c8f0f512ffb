"""Three classes, a small network and its weights in a file, for the tests of networks from other libraries."""

from pathlib import Path

import torch
from torch import nn

from faal.data import DataSet, InMemory, Split

CLASSES = ("cat", "dog", "elk")
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def data(classes: tuple[str, ...] = CLASSES, *, channels: int = 3) -> DataSet:
    images = InMemory(torch.zeros(len(classes), channels, 8, 8))
    return DataSet("pets", classes, None, Split(images, torch.arange(len(classes))))


def layers(num_classes: int, channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, num_classes))


def stored(folder: Path, net: nn.Module) -> Path:
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in net.state_dict().items()}}, folder / "w.pth"
    )
    return folder / "w.pth"
