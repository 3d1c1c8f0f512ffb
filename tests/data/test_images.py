"""The two stores of images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faal.data import InMemory, OnDisk
from faal.errors import InputError

EVERY_LEVEL = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)


def test_uint8_becomes_exact_256ths() -> None:
    fetched = InMemory(EVERY_LEVEL).fetch(torch.arange(4))
    expected = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(4, 1, 8, 8)
    assert fetched.dtype == torch.float32
    np.testing.assert_array_equal(fetched.numpy(), expected)


def test_float_images_are_handed_out_as_they_are() -> None:
    pixels = torch.rand(5, 3, 4, 6)
    store = InMemory(pixels)
    assert store.shape == (3, 4, 6)
    assert len(store) == 5
    assert torch.equal(store.fetch(torch.tensor([4, 0, 4])), pixels[[4, 0, 4]])


def test_a_subset_is_a_store() -> None:
    taken = InMemory(EVERY_LEVEL).take(torch.tensor([2, 0]))
    assert len(taken) == 2
    assert torch.equal(taken.pixels, EVERY_LEVEL[[2, 0]])


def test_on_its_own_device_nothing_is_copied() -> None:
    store = InMemory(EVERY_LEVEL)
    moved = store.to("cpu")
    assert moved.pixels.data_ptr() == store.pixels.data_ptr()
    assert not moved.streams


def test_what_the_device_should_not_hold_stays_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    # The meta device is used as an accelerator: it is another device, and has no memory.
    assert InMemory(EVERY_LEVEL).to("meta").pixels.device.type == "meta"
    monkeypatch.setattr("faal.data.images.RESIDENT_LIMIT", 255)
    stays = InMemory(EVERY_LEVEL).to("meta")
    assert stays.pixels.device.type == "cpu"
    assert stays.streams
    assert stays.fetch(torch.arange(2)).device.type == "meta"


@pytest.mark.parametrize("pixels", [torch.zeros(2, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.int64)])
def test_what_is_no_stack_of_images_is_refused(pixels: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"\(N, channels, H, W\)"):
        InMemory(pixels)


def test_resizing_keeps_the_kind_and_averages_when_it_shrinks() -> None:
    # A checkerboard shrinks to its mean with antialiasing, to one of its colours without.
    board = torch.zeros(1500, 1, 8, 8, dtype=torch.uint8)
    board[:, :, ::2, ::2] = 200
    board[:, :, 1::2, 1::2] = 200
    small = InMemory(board).resized(2, 4)
    assert small.shape == (1, 2, 4)
    assert len(small) == 1500
    assert small.pixels.dtype == torch.uint8
    assert (small.pixels.float() - 100).abs().max() <= 8
    assert InMemory(board.float() / 255).resized(3, 3).pixels.dtype == torch.float32


def saved(folder: Path, name: str, array: np.ndarray) -> Path:
    Image.fromarray(array).save(folder / name)
    return folder / name


def test_files_decode_to_their_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    paths = [saved(tmp_path, f"{n}.png", array) for n, array in enumerate(arrays)]
    store = OnDisk(paths, (3, 6, 4))
    assert len(store) == 5
    expected = torch.from_numpy(arrays.transpose(0, 3, 1, 2).copy())
    assert torch.equal(store.read(torch.tensor([3, 1])), expected[[3, 1]])
    assert torch.equal(store.fetch(torch.tensor([3, 1])), expected[[3, 1]].float() / 255)
    assert torch.equal(store.take(torch.tensor([4, 2])).read(torch.tensor([1])), expected[[2]])
    assert store.to("meta").fetch(torch.tensor([0])).device.type == "meta"


def test_files_of_another_size_are_resized_with_antialiasing(tmp_path: Path) -> None:
    board = np.zeros((32, 32), dtype=np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    store = OnDisk([saved(tmp_path, "board.png", board)], (1, 4, 4))
    assert (store.read(torch.tensor([0])).float() - 100).abs().max() <= 8


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = saved(tmp_path, "whole.png", rng.integers(0, 256, (32, 32), dtype=np.uint8))
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:400])
    with pytest.raises(InputError, match=r"cut\.png"):
        OnDisk([whole, cut], (1, 32, 32)).fetch(torch.tensor([0, 1]))


def test_a_format_is_known_by_its_content(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not an image")
    with pytest.raises(InputError, match=r"text\.png"):
        OnDisk([text], (1, 8, 8)).read(torch.tensor([0]))
