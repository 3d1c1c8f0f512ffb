"""A problem small enough to attack thousands of times: noisy prototypes of 4 x 4 pixels and a two-layer net."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Problem:
    net: nn.Module
    images: Tensor
    labels: Tensor


def make_problem(num_classes: int, count: int, seed: int = 0, size: int = 4) -> Problem:
    draw = torch.Generator().manual_seed(seed)
    prototypes = torch.where(torch.rand(num_classes, 1, size, size, generator=draw) < 0.5, 0.25, 0.75)
    labels = torch.arange(count) % num_classes
    images = (prototypes[labels] + 0.2 * torch.randn(count, 1, size, size, generator=draw)).clamp(0, 1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(size**2, 24), nn.ReLU(), nn.Linear(24, num_classes))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(40):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Problem(net.eval(), images, labels)
