import torch

from faal.data.classwise import places_in_class


def test_places_by_hand() -> None:
    labels, order = torch.tensor([2, 0, 0, 2, 2]), torch.tensor([4, 2, 0, 1, 3])
    assert places_in_class(labels, order).tolist() == [1, 1, 0, 2, 0]


def test_every_class_counts_from_0_in_the_order_given() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 7, (200,), generator=generator)
    order = torch.randperm(200, generator=generator)
    places = places_in_class(labels, order)
    for label in range(7):
        in_order = [int(places[i]) for i in order if labels[i] == label]
        assert in_order == list(range(len(in_order)))
