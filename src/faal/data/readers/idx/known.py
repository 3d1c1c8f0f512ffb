"""The known data sets in IDX files: their names, classes, digests of their labels, and default folders."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from faal.data.official.sources import SOURCES, TORCHVISION, cache_folder

DIGITS = "0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A data set of four files with MNIST's file names."""

    title: str
    classes: tuple[str, ...]
    torchvision: str
    """Torchvision's folder for it, below its root."""
    packaged: str | None = None
    """The folder that a Debian package installs it in."""
    package: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """`train`, `test` -> SHA-256 of the labels' bytes; parts with an unknown digest are omitted."""


KNOWN = {
    "fashion-mnist": Known(
        title="Fashion-MNIST",
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        torchvision=SOURCES["fashion-mnist"].folder,
        packaged="/usr/share/datasets/fashion-mnist",
        package="dataset-fashion-mnist",
        labels={
            "train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            "test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        },
    ),
    "mnist": Known(
        title="MNIST",
        classes=tuple(DIGITS),
        torchvision=SOURCES["mnist"].folder,
        labels={"test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"},
    ),
    "kmnist": Known(
        title="Kuzushiji-MNIST",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        torchvision="KMNIST/raw",
    ),
}  # fmt: skip

MERGED = DIGITS + CAPITALS + "abdefghnqrt"
"""EMNIST's 47 classes: letters with similar upper and lower case are one class, named by the capital."""

EMNIST = {
    "emnist-balanced": tuple(MERGED),
    "emnist-bymerge": tuple(MERGED),
    "emnist-byclass": tuple(DIGITS + CAPITALS + CAPITALS.lower()),
    "emnist-digits": tuple(DIGITS),
    "emnist-mnist": tuple(DIGITS),
    "emnist-letters": tuple(CAPITALS),
}
"""The classes of EMNIST's parts, by the prefix of their files' names."""

FIRST = {"emnist-letters": 1}
"""The lowest label in the files, where it is not 0."""


def recognised(labels: Mapping[str, Tensor]) -> str | None:
    """The known data set that has these labels; None where no part's digest is known.

    Args:
        labels: `train`, `test` -> (N,) int64 in 0 .. 255.
    """
    digests = {part: hashlib.sha256(values.byte().numpy().tobytes()).hexdigest() for part, values in labels.items()}
    names = {name for name, known in KNOWN.items() for part in digests if known.labels.get(part) == digests[part]}
    return names.pop() if len(names) == 1 else None


def default_folders(name: str) -> tuple[Path, ...]:
    """The folders searched for a known data set when none is given: that of `faal data`, torchvision's below the
    current folder, that of the system's package."""
    known = KNOWN[name]
    packaged = [] if known.packaged is None else [Path(known.packaged)]
    return (cache_folder(name), TORCHVISION / known.torchvision, *packaged)
