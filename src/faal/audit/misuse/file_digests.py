"""Digests of the pixels of image files, cached in the user's cache folder, since decoding 100,000 files takes
minutes."""

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features
from torch import Tensor

from faal.checkpoint import write_atomically
from faal.data.cache import user_cache
from faal.data.images import OnDisk
from faal.engine import processes
from faal.errors import InputError

MIN_FILES = 10_000
"""The smallest number of files whose digests are cached; fewer are decoded in seconds."""

SETTLED = 2_000_000_000
"""Nanoseconds. The digest of a file that was changed more recently is not cached: it may change again within the
resolution of its times."""

SIZE, STAMP = 16, 8
"""Bytes of a digest, and of a stamp."""


class FileDigests:
    """The digests of image files by index; a cached digest is valid while its file is unchanged.

    A file is unchanged while its path, size and times (of content and of inode) are the same. The shape in which it is
    decoded and the versions of the decoders must also be the same.

    Args:
        images: the N files.
        compute: indices (B,) -> the digests of these images, `SIZE` bytes each.
    """

    def __init__(self, images: OnDisk, compute: Callable[[Tensor], Iterable[bytes]]) -> None:
        self.compute = compute
        paths = [os.path.abspath(path) for path in images.paths]
        decoders = [PIL.__version__, *(features.version(name) for name in ("jpg", "zlib", "webp"))]
        self.stamps, self.settled = _stamps(paths, f"{images.shape} {decoders}")
        where = f"{os.path.commonpath(paths)} {images.shape}"
        self.file = user_cache() / "digests" / f"{hashlib.sha256(os.fsencode(where)).hexdigest()}.npy"
        self.digests, self.cached = _cached(self.file, self.stamps)
        self.new = np.zeros(len(paths), np.bool_)

    def of(self, index: Tensor) -> list[bytes]:
        """The digests of the images at `index` (B,) int64, computed if they are not cached."""
        missing = index[~self.cached[index.numpy()]]
        if len(missing):
            indices = missing.numpy()
            self.digests[indices] = np.frombuffer(b"".join(self.compute(missing)), np.uint8).reshape(-1, SIZE)
            self.cached[indices] = self.new[indices] = True
        return [row.tobytes() for row in self.digests[index.numpy()]]

    def keep(self) -> None:
        """Write the digests of all processes to the cache, if some are new and it can be written."""
        new = np.flatnonzero(self.new)
        found = processes.gather_objects((new, self.digests[new]))
        if not processes.is_main() or not any(len(indices) for indices, _ in found):
            return
        for indices, digests in found:
            self.digests[indices], self.cached[indices] = digests, True
        cacheable = self.cached & self.settled
        file = io.BytesIO()
        np.save(file, np.concatenate([self.stamps[cacheable], self.digests[cacheable]], axis=1))
        with suppress(InputError):
            write_atomically(self.file, file.getvalue())


def _stamps(paths: Sequence[str], decoding: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A stamp of each file (N, `STAMP`), which changes with the file, and whether (N,) its digest may be cached."""
    now, stamps, settled = time.time_ns(), [], []
    for path in paths:
        try:
            found = os.stat(path)
            state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        except OSError:  # the error is raised when the file is read
            state = (0, now, now)
        text = os.fsencode(path) + f" {state} {decoding}".encode()
        stamps.append(hashlib.blake2b(text, digest_size=STAMP).digest())
        settled.append(max(state[1:]) < now - SETTLED)
    return np.frombuffer(b"".join(stamps), np.uint8).reshape(-1, STAMP), np.array(settled)


def _cached(file: Path, stamps: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The digests (N, `SIZE`) of the files with these stamps, and whether each (N,) is in the cache."""
    digests, cached = np.zeros((len(stamps), SIZE), np.uint8), np.zeros(len(stamps), np.bool_)
    try:
        table = np.load(file, allow_pickle=False)
    except Exception:  # there is none, or it is damaged
        return digests, cached
    if table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != STAMP + SIZE or not len(table):
        return digests, cached
    requested, stored = (_numbers(part) for part in (stamps, table[:, :STAMP]))
    order = np.argsort(stored)
    indices = order[np.searchsorted(stored, requested, sorter=order).clip(max=len(order) - 1)]
    cached = stored[indices] == requested
    digests[cached] = table[indices[cached], STAMP:]
    return digests, cached


def _numbers(stamps: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(stamps).view(np.uint64).ravel()
