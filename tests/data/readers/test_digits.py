"""The embedded digits."""

import torch
from sklearn.datasets import load_digits

from faal.data import load_data


def test_two_halves_with_equal_shares_of_every_class() -> None:
    data = load_data("digits")
    assert data.train is not None
    assert data.test is not None
    assert (data.train.n, data.test.n) == (898, 899)
    assert data.classes == tuple("0123456789")
    assert data.train.images.shape == data.test.images.shape == (1, 8, 8)
    assert (data.train.counts(10) - data.test.counts(10)).abs().max() <= 1


def test_both_halves_together_are_the_source() -> None:
    data = load_data("digits")
    assert data.train is not None
    assert data.test is not None
    levels, labels = load_digits(return_X_y=True)
    rows = {(tuple(row), label) for row, label in zip((levels / 16).tolist(), labels.tolist(), strict=True)}
    samples = []
    for split in (data.train, data.test):
        images = split.images.fetch(torch.arange(split.n)).flatten(1)
        # The 17 levels stay distinct after rounding to 256: back to 16ths they are the source's.
        sixteenths = (images * 16).round() / 16
        assert (images - sixteenths).abs().max() <= 0.5 / 255 + 1e-6
        samples += [(tuple(row), label) for row, label in zip(sixteenths.tolist(), split.labels.tolist(), strict=True)]
    assert len(samples) == 1797
    assert set(samples) == rows


def test_the_halves_are_always_the_same() -> None:
    first, again = load_data("digits").test, load_data("digits").test
    assert first is not None
    assert again is not None
    assert torch.equal(first.labels, again.labels)
    assert first.labels[:12].tolist() == [0, 1, 2, 4, 6, 0, 1, 2, 7, 1, 4, 5]
