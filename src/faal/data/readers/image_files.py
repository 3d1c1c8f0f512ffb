"""Read one image file: its header and its pixels, as 8-bit gray or RGB values.

Files of more than 8 bits per channel are rejected. `Header` records other content that is lost (alpha, orientation,
frames), for the notes of the folder reader.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from faal.engine.processors import usable_processors
from faal.errors import InputError, forbidden

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""The image formats that are decoded; a file of another format is rejected, with any suffix."""

MAX_PIXELS, MAX_SIDE = 2**26, 2**16 - 1
"""The largest image that is decoded: 67 million pixels, 200 MB in RGB; a file of 100 kB may decode to as many."""

TOO_LARGE = f"more than the {MAX_PIXELS:,} in all, or {MAX_SIDE:,} a side, that are read"
"""The bound in messages."""

GRAY = ("1", "L", "LA")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True)
class Header:
    """Properties of an image file that are read before its pixels are decoded.

    Attributes:
        size: (H, W) as stored.
        gray: whether it has one channel, not counting alpha.
        alpha: whether there is an alpha channel, a transparent colour or a palette with transparent entries.
        rotated: whether an orientation tag names another orientation than the stored one.
        frames: the number of images in the file.
        cmyk: whether its colours are CMYK, as for print.
    """

    size: tuple[int, int]
    gray: bool
    alpha: bool
    rotated: bool
    frames: int
    cmyk: bool


def read_header(path: Path) -> Header:
    """The header of an image file.

    Raises:
        InputError: the file does not open, or has more than 8 bits per channel.
    """
    with _opened(path) as image:
        return Header(
            size=(image.height, image.width),
            gray=image.mode in GRAY,
            alpha=image.mode in ALPHA or "transparency" in image.info,
            rotated=_orientation(image) not in (None, 1),
            frames=getattr(image, "n_frames", 1),
            cmyk=image.mode == "CMYK",
        )


def decoded(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """One image file as uint8 (channels, H, W), resized where it has another size, bilinear with antialiasing.

    Args:
        path: the file.
        shape: (channels, H, W), 1 channel (gray) or 3 (RGB).

    Raises:
        InputError: the file does not open or decode, or has more than 8 bits per channel.
    """
    channels, height, width = shape
    with _opened(path) as file:
        file.info.pop("transparency", None)  # dropped by the conversion, with a warning by PIL
        image = file.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def is_opaque(path: Path) -> bool:
    """Whether alpha is 255 in every pixel of an image file, so that dropping it loses nothing."""
    with _opened(path) as file:
        return file.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def is_too_large(height: int, width: int) -> bool:
    """Whether an image of this size is not decoded."""
    return height * width > MAX_PIXELS or max(height, width) > MAX_SIDE


@cache
def threads() -> ThreadPoolExecutor:
    """The pool in which image files are opened and decoded; PIL releases the interpreter's lock while it decodes."""
    return ThreadPoolExecutor(min(8, usable_processors()), thread_name_prefix="decode")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file of 8 bits per channel; every error while it is open becomes an InputError that names it."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if is_too_large(image.height, image.width):
                raise InputError(f"{path} has {image.height:,} x {image.width:,} pixels, {TOO_LARGE}; reduce it first")
            if image.mode in DEEP or _png_depth(image) > 8:
                raise InputError(
                    f"{path} has more than 8 bits per channel, which would be lost; convert it to 8 bits, or store "
                    "the images as floating-point numbers in [0, 1] in an .npz file"
                )
            yield image
    except InputError:
        raise
    except (
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):  # a warning, if the caller turns warnings into errors
        raise InputError(f"{path} has too many pixels, {TOO_LARGE}; reduce it first") from None
    except Exception as error:  # PIL's decoders raise many types, SyntaxError and struct.error among them
        raise _unreadable(path, error) from error


def _png_depth(image: Image.Image) -> int:
    """Bits per channel, from a PNG file's header: PIL's mode does not show them, and its decoder drops the low byte.

    The other formats have at most 8: PIL rejects JPEG files with more; WebP and BMP have no more.
    """
    file = getattr(image, "fp", None)
    if image.format != "PNG" or file is None:
        return 8
    position = file.tell()
    file.seek(0)
    head = file.read(25)
    file.seek(position)
    if head[12:16] != b"IHDR":
        raise SyntaxError("its first chunk is not IHDR")
    return int(head[24])


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation, 1 to 8, 1 as stored; None where there is none or it cannot be read."""
    with suppress(Exception):  # a damaged tag raises errors of many types, and the tag is not needed
        # The base class's method: PNG's own decodes the pixels first.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        return found if found in range(1, 9) else None
    return None


def _unreadable(path: Path, error: Exception) -> InputError:
    """The error for an image file that does not open or decode."""
    if isinstance(error, PermissionError):
        return forbidden(path)
    reason = (
        "it is not a PNG, JPEG, WebP or BMP image that can be decoded"
        if "cannot identify" in str(error)
        else str(error)
    )
    return InputError(f"{path} is not a readable image ({reason}); replace or delete it")
