"""Other test sets for a network of CIFAR-10, in `.npy` files: CIFAR-10.1 and CIFAR-10-C.

CIFAR-10.1 (B. Recht and others, 2018; github.com/modestyachts/CIFAR-10.1, folder `datasets`) is two files for each of
its versions: `cifar10.1_v4_data.npy`, (2021, 32, 32, 3) uint8, and `cifar10.1_v4_labels.npy`, (2021,); v6 has 2,000,
200 of each class, and is the one that its authors recommend.

CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019; zenodo.org/records/2535967) is a file for each corruption, such as
`fog.npy`, (50000, 32, 32, 3) uint8: the 10,000 test images of CIFAR-10 at severity 1, then at 2, up to 5; and
`labels.npy`, (50000,), for all of them.

The labels are CIFAR-10's. Files are read through a memory map, and never as pickles.
"""

from pathlib import Path

import numpy as np

from faal.data.checks import as_images, as_labels
from faal.data.dataset import DataSet, Split
from faal.errors import InputError, unknown

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

VERSIONS = {"v4": 2021, "v6": 2000}
"""CIFAR-10.1's versions, and how many images each has."""

RECOMMENDED = "v6"

IMAGE = (32, 32, 3)

SEVERITIES = 5
PER_SEVERITY = 10_000


def split_new_test(argument: str) -> tuple[Path, str]:
    """DIR and the version in `DIR[:VERSION]`."""
    folder, colon, version = argument.rpartition(":")
    return (Path(folder), version) if colon and version in VERSIONS else (Path(argument), RECOMMENDED)


def read_new_test(argument: str) -> DataSet:
    """CIFAR-10.1 from `DIR[:VERSION]`; DIR contains the files, or a folder `datasets` with them.

    Raises:
        InputError: the files are not there, damaged, or not of this layout.
    """
    path, version = split_new_test(argument)
    names = tuple(f"cifar10.1_{version}_{kind}.npy" for kind in ("data", "labels"))
    folder = _folder(path, "datasets", names[0])
    if folder is None:
        raise InputError(
            f"there is no {names[0]} in {path}; cifar10.1:DIR is the folder with {names[0]} and {names[1]}, and "
            "cifar10.1:DIR:v4 reads the first version"
        )
    count = VERSIONS[version]
    images, labels = _mapped(folder / names[0], (count, *IMAGE)), _mapped(folder / names[1], (count,))
    return _test_set(f"cifar10.1-{version}", folder, images, labels)


def split_corrupted(argument: str) -> tuple[Path, str, str]:
    """DIR, the corruption and the severity in `DIR:CORRUPTION:SEVERITY`; the last two are empty where missing."""
    parts = argument.rsplit(":", 2)
    return (Path(parts[0]), parts[1], parts[2]) if len(parts) == 3 else (Path(argument), "", "")


def read_corrupted(argument: str) -> DataSet:
    """One corruption of CIFAR-10-C at one severity, from `DIR:CORRUPTION:SEVERITY`; DIR contains the files, or a
    folder `CIFAR-10-C` with them.

    Raises:
        InputError: the files are not there, damaged, or not of this layout; no such corruption or severity.
    """
    path, corruption, severity = split_corrupted(argument)
    folder = _folder(path, "CIFAR-10-C", "labels.npy")
    if folder is None:
        raise InputError(
            f"there is no labels.npy in {path}; cifar10-c:DIR:CORRUPTION:SEVERITY needs the unpacked folder CIFAR-10-C"
        )
    corruptions = sorted(file.stem for file in folder.glob("*.npy") if file.stem != "labels")
    if corruption not in corruptions:
        raise unknown("corruption", corruption, corruptions)
    if severity not in map(str, range(1, SEVERITIES + 1)):
        raise InputError(f"there is no severity {severity!r} of {corruption}; severities are 1 to {SEVERITIES}")
    count = SEVERITIES * PER_SEVERITY
    rows = slice((int(severity) - 1) * PER_SEVERITY, int(severity) * PER_SEVERITY)
    images, labels = _mapped(folder / f"{corruption}.npy", (count, *IMAGE)), _mapped(folder / "labels.npy", (count,))
    return _test_set(f"cifar10-c-{corruption}-{severity}", folder, images[rows], labels[rows])


def _folder(path: Path, below: str, name: str) -> Path | None:
    """The folder with a file of that name: `path`, or the folder of the official download below it."""
    return next((folder for folder in (path, path / below) if (folder / name).is_file()), None)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A memory map of an `.npy` file of that shape: images, uint8, or labels (N,), integers."""
    if not path.is_file():
        raise InputError(f"there is no {path.name} in {path.parent}; fetch the official files again")
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except PermissionError:
        raise  # `load_data` makes it an InputError
    except Exception as error:  # a damaged header raises errors of many types
        reason = "contains Python objects, which could run code" if "Python objects" in str(error) else "is truncated"
        raise InputError(f"{path} {reason} or not an .npy file; fetch the official files again") from error
    kind, matches = ("integers", array.dtype.kind in "iu") if len(shape) == 1 else ("uint8", array.dtype == np.uint8)
    if array.shape != shape or not matches:
        raise InputError(
            f"{path} contains {array.dtype} {array.shape} instead of {kind} {shape}; fetch the official files again"
        )
    return array


def _test_set(name: str, folder: Path, images: np.ndarray, labels: np.ndarray) -> DataSet:
    split = Split(as_images(images, f"{folder}: images"), as_labels(labels, f"{folder}: labels"))
    return DataSet(name, CIFAR10, None, split)
