"""Stratified sampling: the order of samples within their class, and random subsets in proportion to the classes."""

import torch
from torch import Tensor


def ranks_in_class(labels: Tensor, order: Tensor) -> Tensor:
    """Each sample's rank among those of its class, from 0, in a given order.

    Args:
        labels: (N,) int64 in 0 .. C - 1, on the CPU.
        order: (N,) int64, a permutation of the samples, such as a random one.

    Returns:
        (N,) int64: for sample i, the number of samples of its class that precede it in `order`.
    """
    by_class = order[labels[order].argsort(stable=True)]
    sizes = torch.bincount(labels)
    ranks = torch.empty(len(labels), dtype=torch.int64)
    ranks[by_class] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    return ranks


def in_proportion(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A random subset with the classes in proportion.

    The r-th sample of a class of n_c samples, in a random order, gets the key (r + u_c) / n_c, with u_c uniform in
    [0, 1), and the `count` smallest keys are taken: systematic sampling of every class, each with a random start, so
    that a class whose share is below one sample is drawn with that probability, and neither large nor small classes
    are favoured. A larger count adds to the samples of a smaller one.

    Args:
        labels: (N,) int64 in 0 .. C - 1, on the CPU.
        count: the number of samples to draw.
        generator: the generator of the random numbers.

    Returns:
        (count,) int64 indices, sorted; all N where `count` is at least N.
    """
    if count >= len(labels):
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=generator)
    sizes = torch.bincount(labels)
    start = torch.rand(len(sizes), generator=generator, dtype=torch.float64)
    key = (ranks_in_class(labels, order) + start[labels]) / sizes[labels]
    return key.argsort(stable=True)[:count].sort().values
