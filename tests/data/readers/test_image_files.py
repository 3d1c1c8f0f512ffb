"""Single image files: their headers, their pixels, and what would be lost."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faal.data import OnDisk, load_data
from faal.data.readers.image_files import MAX_PIXELS, decoded, is_opaque, read_header
from faal.errors import InputError

COLOURS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
PNG_KINDS = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels -> the colour type in a PNG file's header."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_png(path: Path, channels: int) -> Path:
    """A PNG file of 16 bits per channel, which PIL does not write in colour; alpha is opaque."""
    pixels = np.random.default_rng(0).integers(0, 4096, (4, 6, channels), dtype=np.uint16)
    if channels in (2, 4):
        pixels[..., -1] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 6, 4, 16, PNG_KINDS[channels], 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def two_classes(folder: Path, image: Image.Image, name: str, **options: object) -> Path:
    """A test part of two classes, one image in each: an ordinary one, and `image`."""
    for label in ("a", "b"):
        (folder / "test" / label).mkdir(parents=True)
    Image.fromarray(COLOURS).save(folder / "test" / "a" / "plain.png")
    image.save(folder / "test" / "b" / name, **options)
    return folder / "test" / "b" / name


def notes_of(folder: Path) -> tuple[str, ...]:
    return load_data(f"folder:{folder}").notes


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_more_than_eight_bits_are_refused_wherever_the_file_is_read(tmp_path: Path, channels: int) -> None:
    deep = deep_png(tmp_path / "test" / "a" / "deep.png", channels)
    deep_png(tmp_path / "test" / "b" / "deep.png", channels)
    for reading in (
        lambda: load_data(f"folder:{tmp_path}"),
        lambda: OnDisk([deep], (3, 4, 6)).fetch(torch.tensor([0])),
        lambda: decoded(deep, (1, 4, 6)),
    ):
        with pytest.raises(InputError, match=r"deep\.png .*8 bits"):
            reading()


def test_fewer_bits_are_read_in_full(tmp_path: Path) -> None:
    """Levels of 1, 2 and 4 bits are spread over the whole range."""
    for bits in (1, 2, 4):
        levels = np.arange(24, dtype=np.uint8).reshape(4, 6) % 2**bits
        path = tmp_path / f"{bits}.png"
        image = Image.fromarray(levels > 0) if bits == 1 else Image.fromarray(levels)
        image.save(path, **({} if bits == 1 else {"bits": bits}))
        assert decoded(path, (1, 4, 6))[0].tolist() == (levels * (255 // (2**bits - 1))).tolist()


def test_a_jpeg_of_twelve_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.jpg"
    Image.fromarray(COLOURS).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xc0") + 4] = 12  # the frame's precision
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"deep\.jpg"):
        read_header(path)


def test_a_png_whose_header_comes_later_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    Image.fromarray(COLOURS).save(path)
    content = path.read_bytes()
    text = b"\0\0\0\3tEXta\0b"
    path.write_bytes(content[:8] + text + struct.pack(">I", zlib.crc32(text[4:])) + content[8:])
    with pytest.raises(InputError, match=r"odd\.png"):
        read_header(path)


def with_alpha(mode: str, alpha: int) -> Image.Image:
    image = Image.fromarray(COLOURS).convert(mode)
    image.putalpha(Image.fromarray(np.where(np.eye(4, 6), alpha, 255).astype(np.uint8)))
    return image


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("alpha", [0, 254])
def test_transparency_is_said(tmp_path: Path, mode: str, suffix: str, alpha: int) -> None:
    exact = {"lossless": True} if suffix == "webp" else {}
    path = two_classes(tmp_path, with_alpha(mode, alpha), f"icon.{suffix}", **exact)
    assert not is_opaque(path)
    (note,) = [note for note in notes_of(tmp_path) if "have an alpha channel" in note]
    assert note.startswith(f"1 of 2 images under {tmp_path} have an alpha channel")
    assert str(path) in note


def test_opaque_alpha_is_no_loss(tmp_path: Path) -> None:
    path = two_classes(tmp_path, with_alpha("RGB", 255), "icon.png")
    assert read_header(path).alpha
    assert notes_of(tmp_path) == ()


@pytest.mark.parametrize(("colour", "noted"), [((0, 1, 2), True), ((200, 1, 2), False)])
def test_a_transparent_colour_counts_where_it_occurs(tmp_path: Path, colour: tuple[int, int, int], noted: bool) -> None:
    two_classes(tmp_path, Image.fromarray(COLOURS), "icon.png", transparency=colour)
    assert bool(notes_of(tmp_path)) == noted


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparent_entries(tmp_path: Path) -> None:
    """PIL's own warning would tell a user to convert the image."""
    two_classes(tmp_path, with_alpha("RGB", 0).quantize(8), "icon.png")
    (note,) = notes_of(tmp_path)
    assert "have an alpha channel" in note


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize(("orientation", "noted"), [(6, True), (1, False), (77, False)])
def test_an_orientation_tag_is_said_and_not_applied(tmp_path: Path, suffix: str, orientation: int, noted: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_classes(tmp_path, Image.fromarray(COLOURS), f"rotated.{suffix}", exif=exif)
    data = load_data(f"folder:{tmp_path}")
    assert data.test is not None
    assert data.test.images.shape == (3, 4, 6)
    assert [f"{tmp_path / 'test' / 'b' / f'rotated.{suffix}'}" in note for note in data.notes] == [True] * noted


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_tag_is_nobodys_loss(tmp_path: Path) -> None:
    two_classes(tmp_path, Image.fromarray(COLOURS), "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert notes_of(tmp_path) == ()


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_further_frames_are_said(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.fromarray(np.full((4, 6, 3), value, dtype=np.uint8)) for value in (40, 200))
    how = {"format": "MPO"} if suffix == "jpg" else {}  # as cameras of two lenses write, under the same suffix
    two_classes(tmp_path, first, f"film.{suffix}", save_all=True, append_images=[second], **how)
    data = load_data(f"folder:{tmp_path}")
    assert data.test is not None
    assert (data.test.images.fetch(torch.tensor([1])) * 255 - 40).abs().max() < 3
    (note,) = data.notes
    assert note.startswith(f"1 of 2 images under {tmp_path} contain several frames")


def test_inks_are_said(tmp_path: Path) -> None:
    two_classes(tmp_path, Image.fromarray(COLOURS).convert("CMYK"), "print.jpg")
    (note,) = notes_of(tmp_path)
    assert "are in CMYK" in note


def png(height: int, width: int, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def bmp(height: int, width: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + header


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("made", [png, bmp])
@pytest.mark.parametrize(
    ("height", "width"),
    [(0, 5), (5, 0), (9000, 9000), (12_000, 12_000), (20_000, 20_000), (2**26, 1), (1, 2**17), (2**30, 2**30)],
)
def test_a_header_for_no_pixels_or_too_many(
    tmp_path: Path, made: Callable[[int, int], bytes], height: int, width: int
) -> None:
    """A small file with a large header is refused before it is decoded, and the message states the bound."""
    path = tmp_path / "x.png"
    path.write_bytes(made(height, width))
    for read in (read_header, lambda path: decoded(path, (1, 4, 4)), is_opaque):
        with pytest.raises(InputError, match=rf"{path} ") as caught:
            read(path)
        assert (f"{MAX_PIXELS:,}" in str(caught.value)) == (height * width > 0)


def test_a_text_in_a_header_that_unpacks_to_much(tmp_path: Path) -> None:
    large = zlib.compress(bytes(10**7))
    for number, text in enumerate((b"zTXta\0\0", b"iCCPa\0\0", b"iTXtXML:com.adobe.xmp\0\1\0\0\0")):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png(4, 4, chunk(text[:4], text[4:] + large)))
        with pytest.raises(InputError, match="not a readable image"):
            decoded(path, (1, 4, 4))


def test_large_images_need_a_size(tmp_path: Path) -> None:
    for place in ("test/a", "test/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("1", (1025, 1024)).save(tmp_path / place / "x.png")
    with pytest.raises(InputError, match=r"1024x1025 pixels.*--size"):
        load_data(f"folder:{tmp_path}")
    data = load_data(f"folder:{tmp_path}", size=(1024, 1025))
    assert data.test is not None
    assert data.test.images.shape == (1, 1024, 1025)
