"""Digests of the pixels of image files, kept in the user's cache: to decode 100,000 files takes minutes."""

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

LEAST = 10_000
"""The least number of files whose digests are kept; to decode fewer takes seconds."""

SETTLED = 2_000_000_000
"""Nanoseconds. The digest of a file that was changed so shortly before is not kept: within the resolution of its times
it may change again."""

SIZE, STAMP = 16, 8
"""Bytes of a digest, and of a stamp."""


class FileDigests:
    """The digests of image files by their places; one that the cache has counts while its file is unchanged.

    A file is unchanged while its path, size and times, of its content and of its entry, are the same. The shape in
    which it is decoded and the versions of the decoders have to be the same too.

    Args:
        images: the N files.
        compute: the digests of the images at some places (B,), `SIZE` bytes each.
    """

    def __init__(self, images: OnDisk, compute: Callable[[Tensor], Iterable[bytes]]) -> None:
        self.compute = compute
        paths = [os.path.abspath(path) for path in images.paths]
        decoders = [PIL.__version__, *(features.version(name) for name in ("jpg", "zlib", "webp"))]
        self.stamps, self.settled = _stamps(paths, f"{images.shape} {decoders}")
        where = f"{os.path.commonpath(paths)} {images.shape}"
        self.file = user_cache() / "digests" / f"{hashlib.sha256(os.fsencode(where)).hexdigest()}.npy"
        self.digests, self.known = _kept(self.file, self.stamps)
        self.new = np.zeros(len(paths), np.bool_)

    def of(self, index: Tensor) -> list[bytes]:
        """The digests of the images at `index` (B,) int64, computed where they are not known."""
        missing = index[~self.known[index.numpy()]]
        if len(missing):
            places = missing.numpy()
            self.digests[places] = np.frombuffer(b"".join(self.compute(missing)), np.uint8).reshape(-1, SIZE)
            self.known[places] = self.new[places] = True
        return [row.tobytes() for row in self.digests[index.numpy()]]

    def keep(self) -> None:
        """Write the digests of all processes into the cache where some are new; where it cannot be written, it stays
        as it is."""
        own = np.flatnonzero(self.new)
        found = processes.gather_objects((own, self.digests[own]))
        if not processes.is_main() or not any(len(places) for places, _ in found):
            return
        for places, digests in found:
            self.digests[places], self.known[places] = digests, True
        kept = self.known & self.settled
        file = io.BytesIO()
        np.save(file, np.concatenate([self.stamps[kept], self.digests[kept]], axis=1))
        with suppress(InputError):
            write_atomically(self.file, file.getvalue())


def _stamps(paths: Sequence[str], how: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Of each file a stamp (N, `STAMP`) that differs where the file does, and whether (N,) it may be kept."""
    now, stamps, settled = time.time_ns(), [], []
    for path in paths:
        try:
            found = os.stat(path)
            state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        except OSError:  # reading it reports the error
            state = (0, now, now)
        text = os.fsencode(path) + f" {state} {how}".encode()
        stamps.append(hashlib.blake2b(text, digest_size=STAMP).digest())
        settled.append(max(state[1:]) < now - SETTLED)
    return np.frombuffer(b"".join(stamps), np.uint8).reshape(-1, STAMP), np.array(settled)


def _kept(file: Path, stamps: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The digests (N, `SIZE`) of the files with these stamps, and which of them (N,) the cache has."""
    digests, known = np.zeros((len(stamps), SIZE), np.uint8), np.zeros(len(stamps), np.bool_)
    try:
        table = np.load(file, allow_pickle=False)
    except Exception:  # there is none, or it is damaged
        return digests, known
    if table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != STAMP + SIZE or not len(table):
        return digests, known
    wanted, stored = (_numbers(part) for part in (stamps, table[:, :STAMP]))
    order = np.argsort(stored)
    places = order[np.searchsorted(stored, wanted, sorter=order).clip(max=len(order) - 1)]
    known = stored[places] == wanted
    digests[known] = table[places[known], STAMP:]
    return digests, known


def _numbers(stamps: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(stamps).view(np.uint64).ravel()
