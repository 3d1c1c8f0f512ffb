"""A bound on the unpacked size of zip archives; the arrays of an `.npz` file, with its checksums compared."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.checksums import check_archive
from faal.errors import InputError

MAX_UNPACKED = 2 * 2**30
"""Bytes that any archive may unpack to."""

MAX_EXPANSION = 20
"""The largest ratio of unpacked size to size, above it: images compress to a half or a tenth, zeros by 1,000."""


def check_unpacked(path: Path, archive: zipfile.ZipFile) -> None:
    """Check that an archive unpacks to no more than its size makes plausible, by the sizes that it states.

    Readers unpack no more of a member than its stated size.

    Raises:
        InputError: it unpacks to more; the message states how much is allowed.
    """
    size, unpacked = path.stat().st_size, sum(member.file_size for member in archive.infolist())
    most = max(MAX_UNPACKED, MAX_EXPANSION * size)
    if unpacked > most:
        raise InputError(
            f"{path} has {size:,} bytes and unpacks to {unpacked:,}, more than the {most:,} that are allowed for its "
            "size; if the file is genuine, store it without compression"
        )


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an `.npz` file; none may hold Python objects, since loading these could run code.

    Raises:
        FileNotFoundError, PermissionError: as `open`.
        InputError: it unpacks to more than is allowed for its size.
        ValueError: it is damaged, of another format, or contains Python objects; InputError is a ValueError too.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(path, archive)
        check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (FileNotFoundError, PermissionError, InputError):
        raise
    except Exception as error:  # damage raises errors of the archive, the compressor or the array
        raise ValueError(str(error) or type(error).__name__) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy returns the bytes of any other member
            raise ValueError(f"its member {name} is not an array")
    return arrays
