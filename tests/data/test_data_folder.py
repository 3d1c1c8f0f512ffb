"""Folders of image files."""

from pathlib import Path

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


def test_images_that_are_not_read_are_said(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in ("x.tif", "y.TIF", "z.gif"):
        save(tmp_path / "train" / "cat" / name)
    save(tmp_path / "test" / "dog" / "more" / "x.png")
    (tmp_path / "test" / "dog" / "notes").mkdir()
    data = load_data(f"folder:{tmp_path}")
    assert data.train is not None
    assert data.train.counts(2).tolist() == [3, 1]
    assert data.notes == (
        f"Not read: 1 .gif and 2 .tif files and the images in 1 folder such as {tmp_path / 'test' / 'dog' / 'more'}; "
        "only .png, .jpg, .jpeg, .webp, .bmp files directly in a class's folder are.",
    )


def test_a_class_in_another_format_is_not_to_be_deleted(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "train" / "dog" / "0.png").rename(tmp_path / "train" / "dog" / "0.tiff")
    assert "images but 1 .tiff; convert them to PNG" in refused(f"folder:{tmp_path}")


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "test" / "caf\udce9").mkdir()
    message = refused(f"folder:{tmp_path}")
    assert r"the class folder 'caf\udce9'" in message
    assert "rename it" in message
    message.encode()


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for somebody without the permission: a folder of a class, then a file."""
    fill(tmp_path)
    closed = tmp_path / "train" / "dog"

    def refuse(path: Path) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    listed = Path.iterdir
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refuse)
        assert f"{closed} cannot be read (Permission denied); look at its permissions" in refused(f"folder:{tmp_path}")

    opened = Image.open

    def shut(path: Path, **options: object) -> Image.Image:
        if path == closed / "0.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", shut)
    assert f"{closed / '0.png'} cannot be read (Permission denied)" in refused(f"folder:{tmp_path}")


def test_gray_as_rgb(tmp_path: Path) -> None:
    fill(tmp_path, mode="L")
    save(tmp_path / "test" / "dog" / "colour.png", mode="RGB")
    data = load_data(f"folder:{tmp_path}", rgb=True)
    assert data.notes == ()
    (tmp_path / "test" / "dog" / "colour.png").unlink()
    data = load_data(f"folder:{tmp_path}", rgb=True)
    assert data.test is not None
    assert data.test.images.shape == (3, 4, 6)
    digits = load_data("digits", rgb=True)
    assert digits.test is not None
    pixels = digits.test.images.fetch(torch.arange(5))
    assert pixels.shape == (5, 3, 8, 8)
    assert torch.equal(pixels[:, 0], pixels[:, 2])


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
    monkeypatch.setattr("faal.data.folder.RESIDENT_LIMIT", 3 * 72)
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
    assert "holds neither a folder train nor a folder test" in refused(f"folder:{tmp_path}")


def test_classes_must_agree(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / "test" / "bird" / "x.png")
    assert "differ in bird" in refused(f"folder:{tmp_path}")


def test_an_empty_class(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "train" / "dog" / "0.png").unlink()
    assert f"{tmp_path / 'train' / 'dog'} holds no .png" in refused(f"folder:{tmp_path}")


def test_one_class_is_too_few(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "x.png")
    assert "has 1 class; a classifier needs at least two" in refused(f"folder:{tmp_path}")


def test_no_class_folders(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    assert "holds no test images" in refused(f"folder:{tmp_path}")


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
