"""Checksums of the files of weights and arrays: neither PyTorch nor NumPy nor safetensors detects all damage.

Checkpoints and arrays are zip archives. One of this program ends with the SHA-256 of the bytes before it, in the
archive's comment, which other readers skip. For any other archive, including those of earlier versions, the CRC-32 of
every member is compared. An exported safetensors file has the SHA-256 in its metadata.
"""

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import IO

MARK = b"faal-sha256:"
LENGTH = len(MARK) + 2 * hashlib.sha256().digest_size
"""Bytes of the comment: the mark, and the digest in hexadecimal."""

END = b"PK\5\6"
END_SIZE, SIZE_FIELD, COUNT, MANY = 22, 2, slice(10, 12), 0xFFFF
"""The last record of an archive: its signature, its size, and the field at its end with the length of the comment
after it. This field is not hashed: it is 0 until there is a comment. Another has the number of members, or `MANY`."""

FOLDER = 0x10
"""The attribute of a member that is a folder."""

CHUNK = 2**20


def append_checksum(file: IO[bytes]) -> None:
    """Write the SHA-256 of a zip archive into its comment.

    Args:
        file: the archive, open for reading and writing, without a comment.
    """
    size = file.seek(0, os.SEEK_END)
    comment = MARK + _sha256(file, size - SIZE_FIELD)
    file.seek(size - SIZE_FIELD)
    file.write(LENGTH.to_bytes(SIZE_FIELD, "little") + comment)


def check_archive(path: Path) -> None:
    """Compare a zip archive with its checksums.

    Raises:
        zipfile.BadZipFile: they differ, or it is truncated or not an archive.
        OSError, NotImplementedError, RuntimeError, EOFError, zlib.error: it cannot be read.
    """
    with open(path, "rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - END_SIZE - LENGTH)
        file.seek(start)
        record = file.read()
        record = record[max(0, record.rfind(END)) :]
        count, comment = _number(record[COUNT]), record[END_SIZE:]
        if record.startswith(END) and len(comment) != _number(record[END_SIZE - SIZE_FIELD : END_SIZE]):
            raise zipfile.BadZipFile("it is truncated")
        if comment.startswith(MARK):
            if comment != MARK + _sha256(file, start + END_SIZE - SIZE_FIELD):
                raise zipfile.BadZipFile("its content does not have the SHA-256 at its end")
            return
    with zipfile.ZipFile(path) as archive:
        if record.startswith(END) and count not in (len(archive.infolist()), MANY):
            raise zipfile.BadZipFile(f"it lists {len(archive.infolist())} of {count} members")
        for member in archive.infolist():
            # PyTorch would return uninitialised memory as the content of such a member.
            if member.external_attr & FOLDER and member.file_size:
                raise zipfile.BadZipFile(f"{member.filename} is marked as a folder")
            if member.CRC == 0:  # PyTorch can write archives without CRC-32
                continue
            with archive.open(member) as content:
                while content.read(CHUNK):  # to the end, where zipfile compares
                    pass


TENSORS_SHA256 = "faal-sha256"
"""The name in a safetensors file's metadata of the SHA-256 of everything else."""


def tensors_sha256(file: IO[bytes]) -> str:
    """The SHA-256, in hexadecimal, of a safetensors file without the digest in its metadata.

    Args:
        file: open for reading, at its beginning: eight bytes, the header's length; the header, JSON; the values.
    """
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.get("__metadata__", {}).pop(TENSORS_SHA256, None)
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    while part := file.read(CHUNK):
        digest.update(part)
    return digest.hexdigest()


def _number(field: bytes) -> int:
    return int.from_bytes(field, "little")


def _sha256(file: IO[bytes], size: int) -> bytes:
    """The digest of the first `size` bytes, in hexadecimal."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (part := file.read(min(size, CHUNK))):
        digest.update(part)
        size -= len(part)
    return digest.hexdigest().encode()
