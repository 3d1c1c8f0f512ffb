import numpy as np
import pytest
import torch
from torch import Tensor

from faal.data.classwise import in_proportion, ranks_in_class
from faal.engine.seeds import generator


def test_places_by_hand() -> None:
    labels, order = torch.tensor([2, 0, 0, 2, 2]), torch.tensor([4, 2, 0, 1, 3])
    assert ranks_in_class(labels, order).tolist() == [1, 1, 0, 2, 0]


def test_every_class_counts_from_0_in_the_order_given() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 7, (200,), generator=generator)
    order = torch.randperm(200, generator=generator)
    places = ranks_in_class(labels, order)
    for label in range(7):
        in_order = [int(places[i]) for i in order if labels[i] == label]
        assert in_order == list(range(len(in_order)))


def drawn(labels: Tensor, count: int, seed: int) -> Tensor:
    return in_proportion(labels, count, generator("test", seed))


def test_every_class_is_drawn_in_proportion() -> None:
    """400 of a class and 10 each of twenty: over 2,000 seeds the large one has two thirds of 20 places (0.03 is five
    standard errors and more), and of 300 never more than three away from 200."""
    labels = torch.cat([torch.zeros(400, dtype=torch.int64), torch.arange(1, 21).repeat(10)])
    few = [float((labels[drawn(labels, 20, seed)] == 0).float().mean()) for seed in range(2000)]
    assert np.mean(few) == pytest.approx(2 / 3, abs=0.03)
    assert all(abs(int((labels[drawn(labels, 300, seed)] == 0).sum()) - 200) <= 6 for seed in range(100))
    even = torch.arange(100) % 10
    for count in (10, 25, 99):
        counts = torch.bincount(even[drawn(even, count, 1)], minlength=10)
        assert int(counts.max() - counts.min()) <= 1


def test_a_larger_part_holds_a_smaller_one() -> None:
    labels = torch.arange(700) % 7
    assert set(drawn(labels, 20, 3).tolist()) < set(drawn(labels, 90, 3).tolist())
    assert drawn(labels, 700, 3).tolist() == drawn(labels, 9000, 3).tolist() == list(range(700))
