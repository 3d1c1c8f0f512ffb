"""One IDX file: read to the byte, or rejected in one sentence, and never unpacked beyond what its header claims."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tests.idx_files import idx

from faal.data.readers.idx import file as idx_file
from faal.data.readers.idx.file import read_array
from faal.errors import InputError

IMAGES = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
WHOLE = idx(IMAGES)
PACKED = gzip.compress(WHOLE, mtime=0)


@pytest.mark.parametrize("content", [WHOLE, PACKED])
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_what_the_file_is_decides_not_its_name(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    array = read_array(tmp_path / name, 3)
    assert array.dtype == np.uint8
    assert array.flags.writeable
    assert np.array_equal(array, IMAGES)


def damaged(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def header(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


REFUSED = {
    "empty": (b"", "is empty"),
    "a web page": (b"<html></html>", "begins with the bytes 3c 68 74 6d"),
    "an unknown type": (damaged(WHOLE, 2), "not an IDX file"),
    "floats": (idx(np.zeros((3, 4, 5), np.float32), 13), "contains float32"),
    "labels": (idx(np.zeros(3, np.uint8)), r"has 1 dimensions; images \(N, H, W\) have 3"),
    "cut within the header": (WHOLE[:9], "truncated within its header"),
    "cut": (WHOLE[:-1], "3 x 4 x 5 bytes and 59 bytes after it: it is truncated"),
    "too long": (WHOLE + b"0", "61 bytes after it: it is too long"),
    "no pixels": (header(3, 0, 5), "images of 0x5 pixels"),
    "packed, empty": (gzip.compress(b""), "is empty"),
    "packed and cut": (PACKED[:-12], "is truncated: its gzip data ends early"),
    "packed, its checksum cut": (PACKED[:-3], "is truncated: its gzip data ends early"),
    "packed, its content cut": (gzip.compress(WHOLE[:-1]), "59 bytes after it: it is truncated"),
    "packed, too long": (gzip.compress(WHOLE + b"0"), "it is too long"),
    "packed, its checksum wrong": (damaged(PACKED, len(PACKED) - 6), "damaged gzip file"),
    "packed, its data wrong": (damaged(PACKED, 12), "is a damaged gzip file|is truncated"),
    "packed, something behind": (PACKED + b"more", "damaged gzip file"),
    "a header that claims more": (
        gzip.compress(header(2**31, 2**31, 2**31)),
        "cannot be the content of a gzip file of",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    content, said = REFUSED[case]
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_array(tmp_path / "images", 3)
    assert str(tmp_path / "images") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_more_is_unpacked_than_the_header_claims(tmp_path: Path) -> None:
    """64 MB of zeros in 64 kB, behind a header for 60 bytes."""
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(header(3, 4, 5) + bytes(64_000_000)))
    tracemalloc.start()
    with pytest.raises(InputError, match="too long"):
        read_array(tmp_path / "bomb.gz", 3)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4_000_000


def test_a_claim_beyond_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx_file, "RESIDENT_LIMIT", 59)
    (tmp_path / "images.gz").write_bytes(PACKED)
    with pytest.raises(InputError, match="gunzip"):
        read_array(tmp_path / "images.gz", 3)
    (tmp_path / "images").write_bytes(WHOLE)
    assert np.array_equal(read_array(tmp_path / "images", 3), IMAGES)
