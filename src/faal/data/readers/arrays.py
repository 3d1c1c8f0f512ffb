"""Data sets from arrays: an `.npz` file, or a dict with the same keys.

`x_train`, `y_train`, `x_test`, `y_test` hold both parts, or one of them; so do `train_images`, `train_labels`,
`test_images`, `test_labels`. `images` and `labels` are only a test part, `classes` the classes' names; without it the
classes are named by their numbers, from 0 to the highest label.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from faal.bounds import archives
from faal.data.checks import as_images, as_labels
from faal.data.dataset import DataSet, Split
from faal.errors import InputError

TRAIN = (("x_train", "y_train"), ("train_images", "train_labels"))
TEST = (("x_test", "y_test"), ("test_images", "test_labels"), ("images", "labels"))


def read_npz(path: Path) -> DataSet:
    """A data set from an `.npz` file; Python objects in it are rejected, since loading them could run code."""
    if not path.is_file():
        raise InputError(f"there is no file {path}; npz:FILE needs a file written by numpy.savez")
    try:
        arrays = archives.read_npz(path)
    except InputError:
        raise
    except ValueError as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{path} contains Python objects, which could run code; store plain arrays instead"
            ) from error
        raise InputError(
            f"{path} is truncated, damaged or not an .npz file; write it again with numpy.savez"
        ) from error
    return from_arrays(arrays, path.name.removesuffix(".npz"), str(path))


def from_arrays(arrays: Mapping[str, object], name: str, where: str) -> DataSet:
    """A data set from arrays by name (see the module's docstring).

    Args:
        arrays: NumPy arrays, tensors or lists.
        name: the data set's name.
        where: the beginning of the messages.

    Raises:
        InputError: arrays are missing, ambiguous, or not images and labels.
    """
    train, test = _part(arrays, TRAIN, "training", where), _part(arrays, TEST, "test", where)
    if train is None and test is None:
        raise InputError(
            f"{where} contains {', '.join(arrays) or 'nothing'}; name the arrays x_train, y_train, x_test, y_test, "
            "or images, labels"
        )
    return DataSet(name, _classes(arrays, train, test, where), train, test, counted="classes" not in arrays)


def _part(arrays: Mapping[str, object], names: tuple[tuple[str, str], ...], part: str, where: str) -> Split | None:
    """The training or the test part, under any of its names."""
    found = {x: split for x, y in names if (split := _split(arrays, x, y, where)) is not None}
    if len(found) > 1:
        raise InputError(f"{where} contains both {' and '.join(found)}; keep the one that is the {part} part")
    return next(iter(found.values()), None)


def _split(arrays: Mapping[str, object], x: str, y: str, where: str) -> Split | None:
    if x not in arrays and y not in arrays:
        return None
    for key in (x, y):
        if key not in arrays:
            raise InputError(f"{where} lacks {key}; {x} and {y} belong together, and it contains {', '.join(arrays)}")
    images, labels = as_images(arrays[x], f"{where}: {x}"), as_labels(arrays[y], f"{where}: {y}")
    if len(images) != len(labels):
        raise InputError(
            f"{where} has {len(images)} images in {x} and {len(labels)} labels in {y}; each image needs one label"
        )
    return Split(images, labels)


def _classes(arrays: Mapping[str, object], train: Split | None, test: Split | None, where: str) -> tuple[str, ...]:
    if "classes" in arrays:
        names = np.asarray(arrays["classes"])
        if names.ndim != 1 or names.dtype.kind not in "USiu":
            raise InputError(f"{where}: classes must be a list of names, one per class")
        try:
            return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: classes has the name {error.object!r}, not UTF-8; store it as text") from None
    labels = [int(split.labels.max()) for split in (train, test) if split is not None and split.n]
    highest = max(labels, default=-1)
    return tuple(str(number) for number in range(highest + 1))
