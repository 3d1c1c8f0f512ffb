"""Data sets in IDX files, the format of MNIST."""

from faal.data.readers.idx.folder import read_idx, read_known
from faal.data.readers.idx.known import KNOWN

__all__ = ["KNOWN", "read_idx", "read_known"]
