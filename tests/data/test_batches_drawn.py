"""Batches whose classes are drawn: their frequencies, their shares among processes, resumption, device waits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from faal.data import Batch, Batches, InMemory, OnDisk, Split, augment
from faal.data import batches as module
from faal.errors import InputError


def of_classes(counts: list[int]) -> Split:
    """Images that all differ; classes come in no order."""
    n = sum(counts)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(n, generator=torch.Generator().manual_seed(1))]
    pixels = torch.randint(0, 256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return Split(InMemory(pixels), labels)


def made(split: Split, batch_size: int, *, indices: Tensor | None = None, **changes: object) -> Batches:
    settings = {"seed": 5, "crop": 1, "flip": True, "device": "cpu"} | changes
    everything = torch.arange(split.n) if indices is None else indices
    return Batches(split, everything, batch_size=batch_size, **settings)  # type: ignore[arg-type]


def drawn(batches: Batches, p: list[float], *, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
    return batches.drawn(epoch, lambda: torch.tensor(p), start=start)


class TestFrequencies:
    @pytest.mark.parametrize("p", [[0.1, 0.2, 0.7], [1 / 3] * 3, [0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    def test_classes_come_with_their_probabilities(self, p: list[float]) -> None:
        """20,000 draws, seeded: within four standard errors, and a class of probability 0 never. The classes' sizes
        (1,000, 18,000 and 1,000) do not matter."""
        split = of_classes([1000, 18000, 1000])
        labels = torch.cat([batch.labels for batch in drawn(made(split, 500, crop=0, flip=False), p)])
        assert len(labels) == 20000
        found = torch.bincount(labels, minlength=3) / 20000
        for share, wanted in zip(found.tolist(), p, strict=True):
            assert abs(share - wanted) <= 4 * (wanted * (1 - wanted) / 20000) ** 0.5

    def test_images_of_a_class_come_alike_and_with_replacement(self) -> None:
        """4,000 draws from 20 images of one class: each about 200 times, within five standard errors; first and last
        are among them."""
        split = of_classes([20, 3980])
        index = torch.cat([batch.index for batch in drawn(made(split, 400, crop=0, flip=False), [1.0, 0.0])])
        own = torch.nonzero(split.labels == 0).flatten()
        found = torch.bincount(index, minlength=split.n)
        assert int(found.sum()) == int(found[own].sum()) == 4000
        assert float((found[own] - 200).abs().max()) <= 5 * 190**0.5

    def test_only_those_that_are_trained_on(self) -> None:
        split = of_classes([30, 30])
        indices = torch.arange(0, 60, 3)
        index = torch.cat([batch.index for batch in drawn(made(split, 5, indices=indices), [0.5, 0.5])])
        assert set(index.tolist()) <= set(indices.tolist())
        assert len(set(index.tolist())) > 10

    def test_probabilities_need_not_sum_to_one(self) -> None:
        """A sum that is rounded, or a multiple."""
        split = of_classes([40, 40])
        one, other = (drawn(made(split, 8), p) for p in ([0.25, 0.75], [1.0, 3.0]))
        assert all(torch.equal(a.index, b.index) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_the_ends_of_the_draw(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least and the largest number there is: the first and the last image of the first and the last class that is
    possible at all."""
    monkeypatch.setattr(module.seeds, "uniform", lambda places, count, **_: torch.full((len(places), count), number))
    split = of_classes([5, 16, 4097, 5])
    batch = next(drawn(made(split, 4, crop=0, flip=False), [0.0, 0.3, 0.7, 0.0]))
    wanted = torch.nonzero(split.labels == (1 if number == 0 else 2)).flatten()[0 if number == 0 else -1]
    assert batch.index.tolist() == [int(wanted)] * 4


def test_a_batch_holds_its_images_and_labels() -> None:
    split = of_classes([20, 20, 20])
    epoch = list(drawn(made(split, 8), [0.2, 0.3, 0.5], epoch=3))
    assert [len(batch.index) for batch in epoch] == [8] * 7 + [4]
    for batch in epoch:
        assert torch.equal(batch.labels, split.labels[batch.index])
        expected = augment(split.images.fetch(batch.index), key=batch.key, seed=5, epoch=3, crop=1, flip=True)
        assert torch.equal(batch.images, expected)
    assert torch.cat([batch.key for batch in epoch]).tolist() == list(range(60))


def test_an_image_that_comes_again_is_augmented_anew() -> None:
    """About 20 draws of each of two images: 9 crops and a flip each, so 18 different images."""
    split = of_classes([2, 38])
    images = torch.cat([batch.images for batch in drawn(made(split, 8), [1.0, 0.0])])
    assert len(images) == 40
    assert 20 < len(torch.unique(images.flatten(1), dim=0)) <= 36


def test_draws_follow_seed_and_epoch() -> None:
    def draws(epoch: int, **changes: object) -> list[int]:
        epochs = drawn(made(of_classes([20, 20]), 8, **changes), [0.5, 0.5], epoch=epoch)
        return torch.cat([batch.index for batch in epochs]).tolist()

    assert draws(0) == draws(0)
    assert draws(0) != draws(1)
    assert draws(0) != draws(0, seed=6)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_processes_together_make_the_global_batches(world_size: int) -> None:
    split = of_classes([30, 25])
    alone = list(drawn(made(split, 8), [0.4, 0.6]))
    shares = [drawn(made(split, 8, rank=rank, world_size=world_size), [0.4, 0.6]) for rank in range(world_size)]
    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        for name in Batch._fields:
            assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))


@pytest.mark.parametrize("start", [0, 1, 4, 6])
def test_it_goes_on_where_it_stopped(start: int) -> None:
    batches = made(of_classes([25, 20]), 8)
    whole, rest = list(drawn(batches, [0.3, 0.7])), list(drawn(batches, [0.3, 0.7], start=start))
    assert len(rest) == 6 - start
    for expected, batch in zip(whole[start:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, batch, strict=True))


def test_probabilities_are_computed_before_every_batch() -> None:
    """A rule moves them in between."""
    p = torch.tensor([1.0, 0.0])
    epoch = made(of_classes([20, 20]), 10).drawn(0, lambda: p)
    assert set(next(epoch).labels.tolist()) == {0}
    p = torch.tensor([0.0, 1.0])
    assert set(next(epoch).labels.tolist()) == {1}


def test_images_on_disk_give_the_same_batches(tmp_path: Path) -> None:
    split = of_classes([12, 9])
    assert isinstance(split.images, InMemory)
    for number, pixels in enumerate(split.images.pixels.numpy()):
        Image.fromarray(pixels[0]).save(tmp_path / f"{number:02}.png")
    files = Split(OnDisk(sorted(tmp_path.iterdir()), (1, 4, 4)), split.labels)
    for held, read in zip(drawn(made(split, 4), [0.5, 0.5]), drawn(made(files, 4), [0.5, 0.5]), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(held, read, strict=True))


def test_too_few_for_the_processes_is_refused_as_ever() -> None:
    with pytest.raises(InputError, match="2 are needed"):
        made(of_classes([2, 2]), 4, indices=torch.arange(1))


def test_a_step_reads_no_value_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second batch on, tensors without values are enough: no value is read from Python."""
    batches = made(of_classes([20, 20]), 8, crop=0, flip=False)
    epoch = drawn(batches, [0.5, 0.5])
    first = next(epoch)
    shapes = []

    def unread(places: Tensor, count: int, **_: object) -> Tensor:
        return torch.empty(len(places), count)

    monkeypatch.setattr(module.seeds, "uniform", unread)
    monkeypatch.setattr(batches._images, "fetch", lambda index: torch.empty(len(index), 1, 4, 4))
    with FakeTensorMode(allow_non_fake_inputs=True):
        for batch in epoch:
            assert batch.index.shape == batch.labels.shape
            shapes.append(len(batch.labels))
    assert len(first.labels) == 8
    assert shapes == [8, 8, 8, 8]
