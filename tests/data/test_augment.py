"""Crop and flip against padding and slicing, one image at a time."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from faal.data import augment
from faal.engine.seeds import Stream, uniform


def by_hand(images: Tensor, index: Tensor, seed: int, epoch: int, crop: int, flip: bool) -> Tensor:
    """Pad, cut the window out, mirror: each image by itself."""
    done = []
    for image, number in zip(images, index, strict=True):
        one = number[None]
        top, left = (
            int(u * (2 * crop + 1)) for u in uniform(one, 2, seed=seed, epoch=epoch, stream=Stream.CROP)[0].tolist()
        )
        padded = F.pad(image, (crop, crop, crop, crop))
        window = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        if flip and uniform(one, 1, seed=seed, epoch=epoch, stream=Stream.FLIP).item() < 0.5:
            window = torch.flip(window, dims=[2])
        done.append(window)
    return torch.stack(done)


@pytest.mark.parametrize("crop", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9)])
def test_equals_padding_and_slicing(crop: int, flip: bool, shape: tuple[int, int, int]) -> None:
    images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    index = torch.randperm(5000, generator=torch.Generator().manual_seed(1))[:64]
    out = augment(images, key=index, seed=7, epoch=3, crop=crop, flip=flip)
    assert torch.equal(out, by_hand(images, index, 7, 3, crop, flip))


def test_without_crop_and_flip_nothing_changes() -> None:
    images = torch.rand(4, 3, 6, 6)
    assert torch.equal(augment(images, key=torch.arange(4), seed=0, epoch=0, crop=0, flip=False), images)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    images = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    index = torch.arange(100, 130)
    whole = augment(images, key=index, seed=1, epoch=2, crop=2, flip=True)
    some = torch.tensor([17, 3, 29])
    assert torch.equal(augment(images[some], key=index[some], seed=1, epoch=2, crop=2, flip=True), whole[some])


def test_seed_and_epoch_change_it() -> None:
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    index = torch.arange(50)
    first = augment(images, key=index, seed=1, epoch=0, crop=2, flip=True)
    assert not torch.equal(first, augment(images, key=index, seed=2, epoch=0, crop=2, flip=True))
    assert not torch.equal(first, augment(images, key=index, seed=1, epoch=1, crop=2, flip=True))


def test_every_shift_is_equally_likely_and_half_are_mirrored() -> None:
    # One bright pixel in the middle tells where the image went; columns are asymmetric to tell a mirrored one.
    n, crop = 9000, 1
    images = torch.zeros(n, 1, 5, 5)
    images[:, :, 2, 2] = 1.0
    places = augment(images, key=torch.arange(n), seed=5, epoch=0, crop=crop, flip=False).flatten(1).argmax(1)
    counts = torch.bincount(places, minlength=25).view(5, 5)[1:4, 1:4]
    assert counts.sum() == n
    # Nine cells of 1000 expected each: a standard deviation of 30.
    assert (counts - 1000).abs().max() < 5 * 30

    ramp = torch.arange(5.0).expand(n, 1, 5, 5)
    mirrored = augment(ramp, key=torch.arange(n), seed=5, epoch=0, crop=0, flip=True)[:, 0, 0, 0] == 4.0
    assert abs(mirrored.sum().item() - n / 2) < 5 * (n / 4) ** 0.5


@pytest.mark.parametrize("number", [0.0, 1.0 - 2.0**-24])
def test_the_extreme_random_numbers_stay_inside(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["faal.data.augment"]  # by its name: as an attribute of the package it is the function
    monkeypatch.setattr(module, "uniform", lambda index, count, **_: torch.full((len(index), count), number))
    image = torch.rand(1, 1, 3, 3)
    for crop in range(1, 200):
        corner = 0 if number == 0.0 else 2 * crop
        expected = F.pad(image, (crop,) * 4)[:, :, corner : corner + 3, corner : corner + 3]
        assert torch.equal(augment(image, key=torch.zeros(1).long(), seed=0, epoch=0, crop=crop, flip=False), expected)
