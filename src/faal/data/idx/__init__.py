"""Data sets in IDX files, the format of MNIST."""

from faal.data.idx.folder import read_idx, read_known
from faal.data.idx.known import KNOWN

__all__ = ["KNOWN", "read_idx", "read_known"]
