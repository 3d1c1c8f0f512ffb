"""Unpack an archive of one folder of plain files; any other member is rejected.

`tarfile` only reads here and creates no file, so that links, devices, owners, modes and paths outside the folder have
no effect. Files are written one by one under checked names.
"""

import gzip
import re
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from faal.errors import InputError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*")
"""A file's name: not a path, and without characters that a shell or another system interprets."""

HEADERS = 1 << 20
"""Bytes of the tar's own headers and padding; the official archives have less than 20,000."""


class _Bounded(gzip.GzipFile):
    """A gzip file that unpacks to no more than a number of bytes."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self.path, self.remaining = path, most

    def read(self, size: int | None = -1) -> bytes:
        most = self.remaining + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        self.remaining -= len(content)
        if self.remaining < 0:
            raise _refused(self.path, "unpacks to more than the data set has")
        return content


def unpack(archive: Path, folder: Path, *, size: int) -> None:
    """Unpack a `.tar.gz` of one folder of files.

    Args:
        archive: contains the folder `folder.name` with files directly in it.
        folder: the output folder; it must not exist.
        size: the sum of the files' sizes in bytes; no more is unpacked.

    Raises:
        InputError: the archive contains a link, a device, an absolute path or one with `..`, another folder, an invalid
            name, a file twice, more or less than `size`, or is damaged.
    """
    folder.mkdir()
    remaining = size
    try:
        with (
            _Bounded(archive, size + HEADERS) as packed,
            tarfile.open(fileobj=packed, mode="r|") as tar,
        ):
            for member in tar:
                path = _checked(member, folder.name, archive)
                if path is None:
                    continue
                remaining -= member.size
                if remaining < 0:
                    raise _refused(archive, "unpacks to more than the data set has")
                content = tar.extractfile(member)
                assert content is not None
                with (folder / path).open("xb") as file:
                    shutil.copyfileobj(content, file)
    except FileExistsError as error:
        raise _refused(archive, f"contains {Path(error.filename).name} twice") from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _refused(archive, f"is damaged ({error})") from None
    if remaining:
        raise _refused(archive, f"unpacks to {size - remaining:,} bytes instead of {size:,}")


def _checked(member: tarfile.TarInfo, folder: str, archive: Path) -> str | None:
    """The name of a member's file within the folder; None for the folder itself."""
    parts = PurePosixPath(member.name).parts
    if member.isdir() and parts == (folder,):
        return None
    if not member.isreg():
        raise _refused(archive, f"contains {member.name!r}, which is not a plain file")
    if len(parts) != 2 or parts[0] != folder or not NAME.fullmatch(parts[1]):
        raise _refused(archive, f"contains {member.name!r}, which is not a file of the folder {folder}")
    return parts[1]


def _refused(archive: Path, reason: str) -> InputError:
    return InputError(f"{archive.name} {reason}; it is not the official archive: remove it, and fetch it again")
