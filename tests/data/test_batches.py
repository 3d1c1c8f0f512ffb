"""The order of batches, their shares among processes, and reading ahead."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from faal.data import Batches, InMemory, OnDisk, Split, augment
from faal.errors import InputError


def numbered(n: int, classes: int = 3) -> Split:
    """Images that all differ, labels that follow from the index."""
    pixels = torch.randint(0, 256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    return Split(InMemory(pixels), torch.arange(n) % classes)


def batches(split: Split, indices: Tensor, batch_size: int, **changes: object) -> Batches:
    settings = {"seed": 5, "crop": 1, "flip": True, "device": "cpu"} | changes
    return Batches(split, indices, batch_size=batch_size, **settings)  # type: ignore[arg-type]


def test_an_epoch_holds_every_sample_once_with_its_own_image_and_label() -> None:
    split = numbered(50)
    indices = torch.arange(3, 50)
    epoch = list(batches(split, indices, 10).epoch(2))
    assert [len(batch.index) for batch in epoch] == [10, 10, 10, 10, 7]
    index = torch.cat([batch.index for batch in epoch])
    assert torch.equal(index.sort().values, indices)
    assert torch.equal(torch.cat([batch.labels for batch in epoch]), split.labels[index])
    images = torch.cat([batch.images for batch in epoch])
    assert torch.equal(images, augment(split.images.fetch(index), key=index, seed=5, epoch=2, crop=1, flip=True))
    assert images.dtype == torch.float32


def test_the_order_follows_seed_and_epoch() -> None:
    split, indices = numbered(40), torch.arange(40)

    def order(epoch: int, **changes: object) -> list[int]:
        return torch.cat([batch.index for batch in batches(split, indices, 8, **changes).epoch(epoch)]).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=6)


def test_it_goes_on_where_it_stopped() -> None:
    made = batches(numbered(45), torch.arange(45), 8)
    whole, rest = list(made.epoch(1)), list(made.epoch(1, start=3))
    assert len(rest) == len(made) - 3
    for expected, batch in zip(whole[3:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, batch, strict=True))


@settings(max_examples=80, deadline=None)
@given(n=st.integers(6, 70), batch_size=st.integers(6, 20), world_size=st.integers(1, 3), epoch=st.integers(0, 5))
def test_the_processes_together_make_the_global_batches(n: int, batch_size: int, world_size: int, epoch: int) -> None:
    split, indices = numbered(n), torch.arange(n)
    alone = torch.cat([batch.index for batch in batches(split, indices, batch_size).epoch(epoch)])
    made = [batches(split, indices, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    steps = list(zip(*(share.epoch(epoch) for share in made), strict=True))
    assert len(steps) == len(made[0])
    position = 0
    for step, shares in enumerate(steps):
        assert all(len(share.index) >= 2 for share in shares)
        together = torch.cat([share.index for share in shares])
        assert len(together) == made[0].global_size(step)
        assert torch.equal(together, alone[position : position + len(together)])
        position += len(together)
    assert position == n


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_shares_hold_the_images_of_the_one_process_batch(world_size: int) -> None:
    split, indices = numbered(44), torch.arange(2, 44)
    alone = list(batches(split, indices, 12).epoch(0))
    shares = [batches(split, indices, 12, rank=rank, world_size=world_size).epoch(0) for rank in range(world_size)]
    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))


@pytest.mark.parametrize(
    ("n", "world_size", "sizes"),
    [
        (20, 1, [8, 8, 4]),
        (17, 1, [8, 9]),
        (18, 1, [8, 8, 2]),
        (16, 1, [8, 8]),
        (5, 1, [5]),
        (19, 2, [8, 11]),
        (20, 2, [8, 8, 4]),
        (21, 3, [8, 13]),
    ],
)
def test_a_tail_too_small_to_normalise_joins_the_batch_before(n: int, world_size: int, sizes: list[int]) -> None:
    made = batches(numbered(n), torch.arange(n), 8, world_size=world_size)
    assert [made.global_size(step) for step in range(len(made))] == sizes


def test_a_batch_or_a_set_too_small_for_the_processes_is_refused() -> None:
    with pytest.raises(InputError, match="batch size of at least 4"):
        batches(numbered(20), torch.arange(20), 3, world_size=2)
    with pytest.raises(InputError, match="too few"):
        batches(numbered(20), torch.arange(1), 8)


def test_images_on_disk_give_the_same_batches_as_in_memory(tmp_path: Path) -> None:
    split = numbered(21)
    assert isinstance(split.images, InMemory)
    for number, pixels in enumerate(split.images.pixels.numpy()):
        Image.fromarray(pixels[0]).save(tmp_path / f"{number:02}.png")
    files = OnDisk(sorted(tmp_path.iterdir()), (1, 4, 4))
    held = list(batches(split, torch.arange(21), 4).epoch(3))
    read = list(batches(Split(files, split.labels), torch.arange(21), 4).epoch(3))
    assert len(held) == len(read) == 5
    for expected, batch in zip(held, read, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, batch, strict=True))


class Slow(OnDisk):
    """Images that record which batches were fetched, and in which thread."""

    def __init__(self, fetched: list[tuple[list[int], str]], event: threading.Event) -> None:
        super().__init__([Path("nowhere")] * 12, (1, 2, 2))
        self.fetched, self.event = fetched, event

    def read(self, index: Tensor) -> Tensor:
        self.fetched.append((index.tolist(), threading.current_thread().name))
        if len(self.fetched) == 2:
            self.event.set()
        return torch.from_numpy(np.zeros((len(index), 1, 2, 2), dtype=np.uint8))

    def to(self, device: torch.device | str) -> "Slow":
        return self


def test_the_next_batch_is_read_in_the_background() -> None:
    fetched: list[tuple[list[int], str]] = []
    event = threading.Event()
    split = Split(Slow(fetched, event), torch.arange(12) % 2)
    epoch = batches(split, torch.arange(12), 4).epoch(0)
    first = next(epoch)
    # Only the first batch was taken, yet the second is read, in another thread.
    assert event.wait(timeout=10)
    assert fetched[0][0] == first.index.tolist()
    assert {name for _, name in fetched} != {threading.current_thread().name}
    epoch.close()  # type: ignore[attr-defined]
    assert len(fetched) == 2
