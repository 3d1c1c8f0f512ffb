"""Splits and their fingerprint."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from faal.data import DataSet, InMemory, OnDisk, Split, fingerprint
from faal.errors import InputError


def split_of(pixels: torch.Tensor, labels: list[int]) -> Split:
    return Split(InMemory(pixels), torch.tensor(labels))


def grays(n: int) -> torch.Tensor:
    return torch.arange(n * 4, dtype=torch.uint8).view(n, 1, 2, 2)


def test_take_and_counts() -> None:
    split = split_of(grays(5), [0, 1, 1, 3, 1])
    assert split.n == 5
    assert split.counts(4).tolist() == [1, 3, 0, 1]
    taken = split.take(torch.tensor([3, 0]))
    assert taken.labels.tolist() == [3, 0]
    assert torch.equal(taken.images.fetch(torch.arange(2)), split.images.fetch(torch.tensor([3, 0])))


def test_the_number_of_classes() -> None:
    assert DataSet("x", ("a", "b", "c"), None, split_of(grays(1), [0])).num_classes == 3


def test_labels_must_match() -> None:
    with pytest.raises(InputError, match=r"5 images .*\(4,\)"):
        split_of(grays(5), [0, 1, 2, 3])
    with pytest.raises(InputError, match="int32"):
        Split(InMemory(grays(2)), torch.tensor([0, 1], dtype=torch.int32))


def test_the_fingerprint_tells_data_apart() -> None:
    split = split_of(grays(6), [0, 1, 2, 0, 1, 2])
    assert fingerprint(split) == fingerprint(split_of(grays(6), [0, 1, 2, 0, 1, 2]))
    assert len(fingerprint(split)) == 64
    changed = grays(6)
    changed[4, 0, 1, 1] += 1
    others = [
        split_of(changed, [0, 1, 2, 0, 1, 2]),
        split_of(grays(6), [0, 1, 2, 0, 1, 1]),
        split_of(grays(6).view(6, 1, 1, 4), [0, 1, 2, 0, 1, 2]),
        split.take(torch.arange(5)),
    ]
    assert len({fingerprint(other) for other in [split, *others]}) == 5


def test_the_fingerprint_does_not_depend_on_where_images_are_kept(tmp_path: Path) -> None:
    pixels = grays(6)
    for number, image in enumerate(pixels.numpy()):
        Image.fromarray(image[0]).save(tmp_path / f"{number}.png")
    labels = torch.arange(6)
    files = Split(OnDisk(sorted(tmp_path.iterdir()), (1, 2, 2)), labels)
    floats = Split(InMemory(pixels.float() / 255), labels)
    assert fingerprint(files) == fingerprint(floats) == fingerprint(Split(InMemory(pixels), labels))
