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


def in_proportion(labels: Tensor, count: int, drawing: torch.Generator) -> Tensor:
    """So many samples at random, classes in proportion: (count,) int64, sorted; all where there are no more.

    The r-th sample of a class of n_c, in a random order, has its turn at (r + u_c) / n_c, with u_c uniform in [0, 1): a
    systematic sample of every class, each from a start of its own, so that classes with less than one place have their
    chance and neither large nor small ones are favoured. A larger count adds to the samples of a smaller one.

    Args:
        labels: (N,) int64 in 0 .. C - 1, on the CPU.
        count: of the samples wanted.
        drawing: where the random numbers come from.
    """
    if count >= len(labels):
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=drawing)
    sizes = torch.bincount(labels)
    start = torch.rand(len(sizes), generator=drawing, dtype=torch.float64)
    turn = (places_in_class(labels, order) + start[labels]) / sizes[labels]
    return turn.argsort(stable=True)[:count].sort().values
