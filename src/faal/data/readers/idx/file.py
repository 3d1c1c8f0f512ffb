"""One IDX file, plain or compressed with gzip.

The format: two zero bytes, a byte for the type of the numbers, a byte for the number of dimensions; the size of each
dimension as four bytes, the most significant first; then the numbers. Only unsigned bytes are read, as in MNIST and all
data sets of its format.
"""

import gzip
import os
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np

from faal.data.images import RESIDENT_LIMIT
from faal.data.readers.image_files import TOO_LARGE, is_too_large
from faal.errors import InputError

GZIP = b"\x1f\x8b"

MAX_EXPANSION = 1032
"""The most bytes that one byte of a gzip file unpacks to (https://zlib.net/zlib_tech.html)."""

TYPES = {8: "unsigned bytes", 9: "signed bytes", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
"""The format's types of numbers, by their code."""

SHAPES = {1: "labels (N)", 3: "images (N, H, W)"}

REMEDY = "fetch it again"


def read_array(path: Path, dimensions: int) -> np.ndarray:
    """The array in an IDX file of unsigned bytes.

    A file is unpacked if its content is gzip, whatever its name. The header bounds the number of bytes read, and
    must match the size of the file exactly.

    Args:
        path: the file.
        dimensions: the number of dimensions that it must have: 1 (labels) or 3 (images).

    Returns:
        A writable uint8 array with that number of dimensions.

    Raises:
        InputError: it is not an IDX file, has another type or number of dimensions, or is truncated, too long or
            damaged.
    """
    with path.open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        packed = raw.read(2) == GZIP
        raw.seek(0)
        if not packed:
            return _read(raw, path, dimensions, size, packed=False)
        try:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(unpacked, path, dimensions, size, packed=True)
        except EOFError:
            raise InputError(f"{path} is truncated: its gzip data ends early; {REMEDY}") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path} is a damaged gzip file ({error}); {REMEDY}") from None


def _read(file: BufferedReader | gzip.GzipFile, path: Path, dimensions: int, size: int, *, packed: bool) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        start = f"begins with the bytes {magic.hex(' ')}" if magic else "is empty"
        raise InputError(f"{path} is not an IDX file: it {start}; {REMEDY}")
    if magic[2] != 8:
        raise InputError(f"{path} contains {TYPES[magic[2]]}; images and labels in IDX files are unsigned bytes here")
    if magic[3] != dimensions:
        raise InputError(f"{path} has {magic[3]} dimensions; {SHAPES[dimensions]} have {dimensions}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise InputError(f"{path} is truncated within its header; {REMEDY}")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    if 0 in shape[1:]:
        raise InputError(f"{path} has images of {shape[1]}x{shape[2]} pixels by its header; {REMEDY}")
    count, header = 1, 4 + len(sizes)
    for length in shape:
        count *= length
    claim = f"{path} has a header for {' x '.join(f'{length:,}' for length in shape)} bytes"
    if not packed and size != header + count:
        wrong = "is truncated" if size < header + count else "is too long"
        raise InputError(f"{claim} and {size - header:,} bytes after it: it {wrong}; {REMEDY}")
    if packed and count > MAX_EXPANSION * size:
        raise InputError(f"{claim}, which cannot be the content of a gzip file of {size:,} bytes; {REMEDY}")
    if packed and count > RESIDENT_LIMIT:
        raise InputError(f"{claim}, more than this program unpacks; unpack it with gunzip")
    if dimensions == 3 and is_too_large(*shape[1:]):
        raise InputError(f"{path} has images of {shape[1]:,}x{shape[2]:,} pixels by its header, {TOO_LARGE}; {REMEDY}")
    array = np.empty(count, np.uint8)
    view, filled = array.data, 0
    while filled < count and (read := file.readinto(view[filled:])):
        filled += read
    if filled < count:
        raise InputError(f"{claim} and {filled:,} bytes after it: it is truncated; {REMEDY}")
    if file.read(1):  # in a gzip file this also verifies the checksum at its end
        raise InputError(f"{claim} and more bytes than that: it is too long; {REMEDY}")
    return array.reshape(shape)
