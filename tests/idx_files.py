"""IDX files as the official downloads have them, small enough to write here."""

import gzip
import struct
from pathlib import Path

import numpy as np

NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def idx(array: np.ndarray, code: int = 8) -> bytes:
    """The content of an IDX file: magic number, dimensions, numbers."""
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def arrays(train: int = 6, test: int = 4, classes: int = 3) -> dict[str, np.ndarray]:
    """Images of 5x7 pixels that all differ, and labels in turn."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (train, 5, 7), dtype=np.uint8),
        "y_train": (np.arange(train) % classes).astype(np.uint8),
        "x_test": rng.integers(0, 256, (test, 5, 7), dtype=np.uint8),
        "y_test": (np.arange(test) % classes).astype(np.uint8),
    }


def write(folder: Path, parts: dict[str, np.ndarray], *, packed: bool = False, prefix: str = "") -> Path:
    """The files of these arrays, plain or compressed; with a prefix the test part is called so, as EMNIST's is."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in parts.items():
        name = prefix + (NAMES[key].replace("t10k", "test") if prefix else NAMES[key])
        content = gzip.compress(idx(array), mtime=0) if packed else idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(content)
    return folder
