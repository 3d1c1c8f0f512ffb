"""CIFAR-10 and CIFAR-100 as the official download (python version) unpacks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from faal.data.checks import as_labels
from faal.data.dataset import DataSet, Split
from faal.data.images import InMemory
from faal.data.plain_pickle import load_plain
from faal.errors import InputError

SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Layout:
    """What the files are called and where the labels stand in them."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        meta="batches.meta",
        labels="labels",
        names="label_names",
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        train=("train",),
        test="test",
        meta="meta",
        labels="fine_labels",
        names="fine_label_names",
    ),
}


def read_cifar(name: str, path: Path) -> DataSet:
    """`cifar10` or `cifar100` from the unpacked folder, or from the folder that holds it."""
    layout = LAYOUTS[name]
    folder = path / layout.folder if (path / layout.folder).is_dir() else path
    if not (folder / layout.meta).is_file():
        raise InputError(
            f"there is no {layout.folder} in {path}; {name}:DIR is the folder that the official download "
            "(python version) unpacks to"
        )
    meta = folder / layout.meta
    names = load_plain(meta).get(layout.names)
    if not isinstance(names, list) or not all(isinstance(label, str | bytes) for label in names):
        raise InputError(f"{meta} lacks the list {layout.names}; unpack the official download again")
    classes = tuple(label.decode() if isinstance(label, bytes) else label for label in names)
    train = _read_files([folder / file for file in layout.train], layout.labels)
    return DataSet(name, classes, train, _read_files([folder / layout.test], layout.labels))


def _read_files(paths: list[Path], key: str) -> Split:
    parts = [_read_file(path, key) for path in paths]
    pixels = np.concatenate([rows for rows, _ in parts]).reshape(-1, *SHAPE)
    return Split(InMemory(torch.from_numpy(pixels)), torch.cat([labels for _, labels in parts]))


def _read_file(path: Path, key: str) -> tuple[np.ndarray, torch.Tensor]:
    """Rows (N, 3072) of one file, channel by channel, and its labels (N,)."""
    content = load_plain(path)
    for part in ("data", key):
        if part not in content:
            raise InputError(f"{path} lacks {part!r}; unpack the official download again")
    rows, labels = content["data"], as_labels(content[key], f"{path}: {key}")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (len(labels), 3 * 32 * 32):
        found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise InputError(
            f"{path} holds {found} for {len(labels)} labels instead of uint8 ({len(labels)}, 3072); "
            "it is damaged: unpack the official download again"
        )
    return rows, labels
