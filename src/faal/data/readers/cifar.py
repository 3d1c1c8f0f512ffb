"""Read CIFAR-10 and CIFAR-100 from the unpacked official downloads: pickles (for Python), or the binary version."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faal.data.checks import as_labels
from faal.data.dataset import DataSet, Split
from faal.data.images import InMemory
from faal.data.official.sources import SOURCES, TORCHVISION, cache_folder
from faal.data.readers.plain_pickle import load_plain
from faal.errors import InputError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """The folder and the files of an unpacked download."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    """The file with the classes' names."""

    @abstractmethod
    def names(self, path: Path) -> list[str]:
        """The classes' names, from the file `meta`."""

    @abstractmethod
    def rows(self, path: Path) -> tuple[np.ndarray, Tensor]:
        """The images of one file, (N, 3072) uint8, channel by channel, and their labels (N,)."""


@dataclass(frozen=True, kw_only=True)
class Pickles(Layout):
    """The Python version: the keys of the labels and of the classes' names in its dicts."""

    labels_key: str
    names_key: str

    def names(self, path: Path) -> list[str]:
        names = load_plain(path).get(self.names_key)
        if not isinstance(names, list) or not all(isinstance(label, str | bytes) for label in names):
            raise InputError(f"{path} lacks the list {self.names_key}; unpack the official download again")
        try:
            return [label.decode() if isinstance(label, bytes) else label for label in names]
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} has the name {error.object!r}, not UTF-8; unpack the official download again"
            ) from None

    def rows(self, path: Path) -> tuple[np.ndarray, Tensor]:
        content, key = load_plain(path), self.labels_key
        for part in ("data", key):
            if part not in content:
                raise InputError(f"{path} lacks {part!r}; unpack the official download again")
        rows, labels = content["data"], as_labels(content[key], f"{path}: {key}")
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (len(labels), PIXELS):
            found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise InputError(
                f"{path} contains {found} for {len(labels)} labels instead of uint8 ({len(labels)}, {PIXELS}); "
                "it is damaged: unpack the official download again"
            )
        return rows, labels


@dataclass(frozen=True, kw_only=True)
class Binary(Layout):
    """The binary version: records of label bytes, of which the last is the class, and pixels."""

    label_bytes: int

    def names(self, path: Path) -> list[str]:
        return path.read_text(encoding="latin-1").split()

    def rows(self, path: Path) -> tuple[np.ndarray, Tensor]:
        if not path.is_file():
            raise InputError(f"there is no file {path}; unpack the official download (binary version) again")
        content, record = np.fromfile(path, np.uint8), self.label_bytes + PIXELS
        if len(content) == 0 or len(content) % record:
            raise InputError(
                f"{path} has {len(content):,} bytes, which is not a whole number of records of {record:,}; "
                "it is truncated or not a CIFAR data file: unpack the official download again"
            )
        records = content.reshape(-1, record)
        return records[:, self.label_bytes :], torch.from_numpy(records[:, self.label_bytes - 1].astype(np.int64))


BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "cifar10": (
        Pickles(
            folder=SOURCES["cifar10"].folder,
            train=BATCHES,
            test="test_batch",
            meta="batches.meta",
            labels_key="labels",
            names_key="label_names",
        ),
        Binary(
            folder="cifar-10-batches-bin",
            train=tuple(f"{name}.bin" for name in BATCHES),
            test="test_batch.bin",
            meta="batches.meta.txt",
            label_bytes=1,
        ),
    ),
    "cifar100": (
        Pickles(
            folder=SOURCES["cifar100"].folder,
            train=("train",),
            test="test",
            meta="meta",
            labels_key="fine_labels",
            names_key="fine_label_names",
        ),
        Binary(
            folder="cifar-100-binary",
            train=("train.bin",),
            test="test.bin",
            meta="fine_label_names.txt",
            label_bytes=2,
        ),
    ),
}


def read_cifar(name: str, path: Path | None) -> DataSet:
    """`cifar10` or `cifar100` from an unpacked folder, or from its parent folder.

    Args:
        name: a key of `LAYOUTS`.
        path: the folder; None for that of `faal data`, else torchvision's below the current folder.

    Raises:
        InputError: it is not there, or is damaged.
    """
    searched = (cache_folder(name), TORCHVISION) if path is None else (path,)
    for parent in searched:
        for layout in LAYOUTS[name]:
            # A default folder may contain an unrelated file `meta`.
            for folder in (parent / layout.folder, *(() if path is None else (parent,))):
                if (folder / layout.meta).is_file():
                    classes = tuple(layout.names(folder / layout.meta))
                    train, test = (_split(layout, folder, files) for files in (layout.train, (layout.test,)))
                    return DataSet(name, classes, train, test)
    folders = " and no ".join(layout.folder for layout in LAYOUTS[name])
    missing = f"there is no {folders} in {' and '.join(map(str, searched))}"
    if path is None:
        raise InputError(
            f"{missing}; run `faal data {name}`, or write {name}:DIR with the folder that the official download "
            "unpacks to"
        )
    raise InputError(f"{missing}; {name}:DIR is the folder that the official download unpacks to")


def _split(layout: Layout, folder: Path, files: tuple[str, ...]) -> Split:
    parts = [layout.rows(folder / file) for file in files]
    pixels = np.concatenate([rows for rows, _ in parts]).reshape(-1, *SHAPE)
    return Split(InMemory(torch.from_numpy(pixels)), torch.cat([labels for _, labels in parts]))
