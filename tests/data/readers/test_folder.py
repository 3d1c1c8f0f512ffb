"""Folders of image files."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from faal.data import InMemory, OnDisk, load_data
from faal.errors import InputError


def save(path: Path, value: int = 0, size: tuple[int, int] = (4, 6), mode: str = "RGB") -> Path:
    """An even image of (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = (3,) if mode == "RGB" else ()
    Image.fromarray(np.full((*size, *depth), value, dtype=np.uint8)).save(path)
    return path


def fill(folder: Path, **kinds: object) -> Path:
    """Two classes in both parts, unequal."""
    for part, counts in (("train", {"cat": 3, "dog": 1}), ("test", {"cat": 1, "dog": 2})):
        for name, count in counts.items():
            for number in range(count):
                save(folder / part / name / f"{number}.png", 10 * number + (100 if name == "dog" else 0), **kinds)  # type: ignore[arg-type]
    return folder


def refused(spec: str, size: tuple[int, int] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_data(spec, size=size)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_both_parts(tmp_path: Path) -> None:
    data = load_data(f"folder:{fill(tmp_path / 'pets')}")
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.train is not None
    assert data.test is not None
    assert data.train.labels.tolist() == [0, 0, 0, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert data.train.images.shape == (3, 4, 6)
    assert isinstance(data.train.images, InMemory)
    values = data.train.images.pixels[:, 0, 0, 0].tolist()
    assert values == [0, 10, 20, 100]


@pytest.mark.parametrize("part", ["train", "test"])
def test_one_part_alone(tmp_path: Path, part: str) -> None:
    for name in ("a", "b"):
        save(tmp_path / part / name / "x.png")
    data = load_data(f"folder:{tmp_path}")
    assert (data.train is None) == (part == "test")
    assert (data.test is None) == (part == "train")


def test_all_formats_and_nothing_else(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "JPEG", "webp", "bmp"):
        save(tmp_path / "test" / "a" / f"x.{suffix}", 50)
    save(tmp_path / "test" / "b" / "x.png", 50)
    (tmp_path / "test" / "b" / "notes.txt").write_text("ignored")
    (tmp_path / "test" / "b" / ".hidden.png").write_text("ignored")
    (tmp_path / "test" / ".cache").mkdir()
    data = load_data(f"folder:{tmp_path}")
    assert data.test is not None
    assert data.notes == ()
    assert data.test.counts(2).tolist() == [5, 1]
    assert (data.test.images.fetch(torch.arange(6)) * 255 - 50).abs().max() <= 2


@pytest.mark.parametrize("name", ["b.tif", "b.GIF", "b.heic"])
def test_images_of_another_kind_would_halve_a_class(tmp_path: Path, name: str) -> None:
    fill(tmp_path)
    (tmp_path / "test" / "dog" / name).write_bytes(b"an image")
    (tmp_path / "test" / "dog" / "c.tiff").write_bytes(b"an image")
    message = refused(f"folder:{tmp_path}")
    assert f"{tmp_path / 'test' / 'dog'} contains images" in message
    assert f"({name} and 1 more)" in message


@pytest.mark.parametrize("name", ["x.png", "y.tif"])
def test_images_in_a_folder_within_a_class_would_be_left_out(tmp_path: Path, name: str) -> None:
    nested = fill(tmp_path) / "train" / "cat" / "more" / "deep"
    nested.mkdir(parents=True)
    (nested.parent / "again").symlink_to(nested.parent)
    assert load_data(f"folder:{tmp_path}").notes == ()  # a folder without images is nobody's loss
    (nested / name).write_bytes(b"an image")
    message = refused(f"folder:{tmp_path}")
    assert f"({nested / name})" in message


def test_images_of_no_class_are_counted_in_a_note(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / "test" / "x.png")
    (tmp_path / "test" / "y.tif").write_bytes(b"an image")
    (tmp_path / "test" / "Thumbs.db").write_bytes(b"")
    (note,) = load_data(f"folder:{tmp_path}").notes
    assert note == f"Images directly in {tmp_path / 'test'} have no class and were ignored: 2."


@pytest.mark.parametrize("place", ["train", "test/dog", "test/cat/more"])
def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Root may read all files, so that the system's refusal is simulated."""
    (fill(tmp_path) / "test" / "cat" / "more").mkdir()
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path) == str(tmp_path / place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert f"no permission to read {tmp_path / place}: " in refused(f"folder:{tmp_path}")


@pytest.mark.parametrize("limit", [0, 1000])
def test_an_image_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Whether it is found at reading, or, on disk, when a batch is fetched."""
    locked = fill(tmp_path) / "test" / "dog" / "1.png"
    monkeypatch.setattr("faal.data.readers.folder.RESIDENT_LIMIT", limit)
    data = load_data(f"folder:{tmp_path}") if limit == 0 else None
    opened = Image.open

    def opening(path: Path, **options: Any) -> Image.Image:
        if path == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, **options)

    monkeypatch.setattr(Image, "open", opening)
    if data is None:
        assert f"no permission to read {locked}: " in refused(f"folder:{tmp_path}")
        return
    assert data.test is not None
    with pytest.raises(InputError, match=f"no permission to read {locked}: "):
        data.test.images.fetch(torch.arange(3))


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="file names are Unicode here")
@pytest.mark.parametrize("level", ["data set", "class"])
def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path, level: str) -> None:
    """As archives from elsewhere unpack. No result could name it."""
    name = os.fsdecode(b"caf\xe9")
    root = tmp_path / name if level == "data set" else tmp_path
    fill(root)
    if level == "class":
        for part in ("train", "test"):
            (root / part / "dog").rename(root / part / name)
    assert rf"the name of the {level}, 'caf\udce9', is not UTF-8; rename it" in refused(f"folder:{root}")


@pytest.mark.parametrize("spec", ["folder", "digits"])
def test_gray_as_rgb(tmp_path: Path, spec: str) -> None:
    fill(tmp_path, mode="L")
    data = load_data(f"folder:{tmp_path}" if spec == "folder" else spec, rgb=True)
    assert data.train is not None
    assert data.train.images.shape[0] == 3
    pixels = data.train.images.fetch(torch.arange(3))
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    (note,) = data.notes
    assert note.startswith("Gray images were given three equal channels: an attack changes each separately")


def test_colour_stays_as_it_is_with_rgb(tmp_path: Path) -> None:
    assert load_data(f"folder:{fill(tmp_path)}", rgb=True).notes == ()


def test_gray_where_all_are_gray(tmp_path: Path) -> None:
    fill(tmp_path, mode="L")
    data = load_data(f"folder:{tmp_path}")
    assert data.train is not None
    assert data.train.images.shape == (1, 4, 6)
    assert data.notes == ()


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_gray_among_colour_becomes_rgb_and_is_said(tmp_path: Path, size: tuple[int, int] | None) -> None:
    fill(tmp_path, mode="L")
    save(tmp_path / "test" / "dog" / "colour.png", mode="RGB")
    data = load_data(f"folder:{tmp_path}", size=size)
    assert data.train is not None
    assert data.train.images.shape == (3, *(size or (4, 6)))
    assert data.train.images.fetch(torch.tensor([3])).unique().tolist() == pytest.approx([100 / 255])
    (note,) = data.notes
    assert note.startswith(f"7 of 8 images under {tmp_path} are gray")


def test_a_palette_and_transparency_become_rgb(tmp_path: Path) -> None:
    save(tmp_path / "test" / "a" / "x.png", 80)
    (tmp_path / "test" / "b").mkdir()
    with Image.open(tmp_path / "test" / "a" / "x.png") as image:
        image.convert("P").save(tmp_path / "test" / "b" / "palette.png")
        image.convert("RGBA").save(tmp_path / "test" / "b" / "transparent.png")
    data = load_data(f"folder:{tmp_path}")
    assert data.test is not None
    assert data.test.images.shape == (3, 4, 6)
    assert (data.test.images.fetch(torch.arange(3)) * 255 - 80).abs().max() <= 30


def test_more_than_the_limit_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    held = load_data(f"folder:{tmp_path}")
    # The test part has 3 images of 72 bytes, the training part 4.
    monkeypatch.setattr("faal.data.readers.folder.RESIDENT_LIMIT", 3 * 72)
    data = load_data(f"folder:{tmp_path}")
    assert data.train is not None
    assert data.test is not None
    assert held.train is not None
    assert isinstance(data.train.images, OnDisk)
    assert isinstance(data.test.images, InMemory)
    assert torch.equal(data.train.images.fetch(torch.arange(4)), held.train.images.fetch(torch.arange(4)))


def test_sizes_that_differ_need_a_size(tmp_path: Path) -> None:
    fill(tmp_path)
    odd = save(tmp_path / "test" / "dog" / "odd.png", size=(9, 5))
    message = refused(f"folder:{tmp_path}")
    assert f"{odd} has 9x5" in message
    assert "--size H,W" in message
    data = load_data(f"folder:{tmp_path}", size=(3, 7))
    assert data.train is not None
    assert data.test is not None
    assert data.train.images.shape == data.test.images.shape == (3, 3, 7)


def test_missing_folders(tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path / 'gone'}" in refused(f"folder:{tmp_path / 'gone'}")
    assert f"{tmp_path} contains neither" in refused(f"folder:{tmp_path}")


def test_classes_must_agree(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / "test" / "bird" / "x.png")
    message = refused(f"folder:{tmp_path}")
    assert "train lacks bird" in message
    assert str(tmp_path / "test" / "bird") in message


def test_an_empty_class(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "train" / "dog" / "0.png").unlink()
    assert f"{tmp_path / 'train' / 'dog'} contains no .png" in refused(f"folder:{tmp_path}")


def test_one_class_is_too_few(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "x.png")
    assert "has 1 class;" in refused(f"folder:{tmp_path}")


def test_no_class_folders(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    assert "contains no test images" in refused(f"folder:{tmp_path}")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n\x00\x00\x00"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    bad = fill(tmp_path) / "train" / "cat" / "bad.png"
    bad.write_bytes(content)
    assert f"{bad} is not a readable image" in refused(f"folder:{tmp_path}")


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    bad = tmp_path / "train" / "cat" / "bad.bmp"
    Image.fromarray(noise).save(bad)
    bad.write_bytes(bad.read_bytes()[:-20])
    assert f"{bad} is not a readable image" in refused(f"folder:{tmp_path}")


def test_sixteen_bits_would_be_cut_off(tmp_path: Path) -> None:
    deep = fill(tmp_path) / "train" / "cat" / "deep.png"
    Image.fromarray(np.full((4, 6), 40_000, dtype=np.uint16)).save(deep)
    assert f"{deep} has more than 8 bits" in refused(f"folder:{tmp_path}")
