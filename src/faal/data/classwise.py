"""Samples class by class."""

import torch
from torch import Tensor


def places_in_class(labels: Tensor, order: Tensor) -> Tensor:
    """Each sample's place among those of its class, counted from 0 in a given order.

    Args:
        labels: (N,) int64 in 0 .. C - 1, on the CPU.
        order: (N,) int64, a permutation of the samples, such as a random one.

    Returns:
        (N,) int64: of sample i, how many of its class come before it.
    """
    by_class = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels)
    places = torch.empty(len(labels), dtype=torch.int64)
    places[by_class] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    return places
