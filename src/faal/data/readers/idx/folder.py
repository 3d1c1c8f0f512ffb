"""A data set from a folder of IDX files, named as those of MNIST and of the data sets in its format."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from faal.data.dataset import DataSet, Split
from faal.data.images import InMemory
from faal.data.official.sources import SOURCES
from faal.data.readers.idx.file import read_array
from faal.data.readers.idx.known import EMNIST, FIRST, KNOWN, default_folders, recognised
from faal.errors import InputError

FILE = re.compile(r"(?:(?P<prefix>.+)-)?(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(?:\.gz)?")
"""A file's name: `train-images-idx3-ubyte.gz`, `t10k-labels.idx1-ubyte`, `emnist-letters-test-images-idx3-ubyte`."""

DIMENSIONS = {"images": 3, "labels": 1}

FILE_NAMES = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"

TRANSPOSED = (
    "EMNIST's files store each image with its rows and columns exchanged; the images were transposed to be upright. A "
    "network that was trained on the images as stored must transpose them again in its own code."
)

Files = Mapping[tuple[str, str], Path]
"""(part, kind) -> its file; the part is `train` or `test`, the kind `images` or `labels`."""


def read_idx(path: Path) -> DataSet:
    """`idx:DIR`, or `idx:DIR/PREFIX` for one of several data sets in a folder, such as `DIR/emnist-letters`.

    A known data set, recognised by its labels or its files' names, gets its name and its classes; in any other the
    classes are named by their numbers, up to the highest label.

    Raises:
        InputError: there are no such files, or several data sets; a file is missing, damaged or does not match another.
    """
    folder, requested = (path, None) if path.is_dir() else (path.parent, path.name)
    sets = _sets(folder)
    if requested is None and len(sets) > 1:
        names = sorted(prefix for prefix in sets if prefix)
        raise InputError(f"{folder} contains several data sets ({', '.join(names)}); name one: idx:{folder / names[0]}")
    prefix = next(iter(sets), None) if requested is None else requested
    if prefix is None or prefix not in sets:
        missing = f"{folder} contains no IDX files"
        if prefix is not None:
            missing = f"there is no folder {path}, and no IDX file {path.name}-* in {folder}"
        raise InputError(f"{missing}; idx:DIR is the folder with {FILE_NAMES}, each plain or as .gz")
    return _emnist(folder, prefix, sets[prefix]) if prefix else _plain(sets[prefix])


def read_known(name: str, path: Path | None) -> DataSet:
    """A data set of `KNOWN` from the folder at `path`, or from the first of its default folders that has it.

    In each folder, torchvision's folder below it is also searched.

    Args:
        name: a key of `KNOWN`.
        path: the folder; None for the default ones (`default_folders`).

    Raises:
        InputError: it is not there (lists the folders searched); its files are damaged, or another data set's.
    """
    known = KNOWN[name]
    searched = default_folders(name) if path is None else (path,)
    for folder in (each for parent in searched for each in (parent, parent / known.torchvision)):
        if files := _sets(folder).get(""):
            break
    else:
        raise _absent(name, path, searched)
    data = _plain(files)
    if data.name != name and data.name in KNOWN:
        raise InputError(f"{folder} contains {KNOWN[data.name].title}, not {known.title}; write {data.name}:{folder}")
    other = bool(known.labels) and data.name != name and any(_part(data, part) for part in known.labels)
    note = f"The labels in {folder} are not those of {known.title}: they are of a part of it, or of another data set."
    notes = (*data.notes, note) if other else data.notes
    return replace(data, name=name, classes=known.classes, notes=notes, counted=False)


def _absent(name: str, path: Path | None, searched: tuple[Path, ...]) -> InputError:
    known = KNOWN[name]
    where = " and ".join(str(folder) for folder in searched)
    missing = f"there is no {known.title} in {where}, nor in {known.torchvision} there: "
    if path is not None:
        return InputError(f"{missing}{name}:DIR is the folder with {FILE_NAMES}, each plain or as .gz")
    package = "" if known.package is None else f", install Debian's package {known.package}"
    command = f"run `faal data {name}`, " if name in SOURCES else ""
    return InputError(
        f"{missing}{command}put {FILE_NAMES}, each plain or as .gz, into {searched[0]}{package}, or write "
        f"{name}:DIR with the folder that they are in"
    )


def _sets(folder: Path) -> Mapping[str, Files]:
    """The data sets in a folder, by the prefix of their files' names, which is empty for MNIST's file names.

    Where a file exists both plain and compressed, the plain one is read; names with a hyphen precede those with a
    dot.

    Raises:
        InputError: the test part exists under two names.
    """
    found: dict[str, dict[tuple[str, str], Path]] = {}
    names: dict[tuple[str, str, str], str] = {}
    if not folder.is_dir():
        return {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix == ".gz", "." in path.name, path.name)):
        match = FILE.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        prefix, part, kind = match["prefix"] or "", match["part"], match["kind"]
        other = names.setdefault((prefix, "train" if part == "train" else "test", kind), part)
        if other != part:
            raise InputError(f"{folder} contains test {kind} as {other}-{kind} and as {part}-{kind}; keep one of them")
        found.setdefault(prefix, {}).setdefault(("train" if part == "train" else "test", kind), path)
    return found


def _plain(files: Files) -> DataSet:
    """A data set in files with MNIST's names; a known one is recognised by its labels."""
    labels = {part: _labels(file) for (part, kind), file in files.items() if kind == "labels"}
    name = recognised(labels)
    highest = max((int(values.max()) for values in labels.values() if len(values)), default=0)
    classes = tuple(map(str, range(highest + 1))) if name is None else KNOWN[name].classes
    train, test = (_split(files, part, labels.get(part)) for part in ("train", "test"))
    return DataSet(name or "idx", classes, train, test, counted=name is None)


def _emnist(folder: Path, prefix: str, files: Files) -> DataSet:
    """A data set in files whose names begin with a prefix: a part of EMNIST, or a user's data."""
    labels = {part: _labels(file) for (part, kind), file in files.items() if kind == "labels"}
    mapping = folder / f"{prefix}-mapping.txt"
    named = _mapping(mapping) if mapping.is_file() else dict(enumerate(EMNIST.get(prefix, ()), FIRST.get(prefix, 0)))
    if named:
        numbers = torch.full((256,), -1)
        numbers[list(named)] = torch.arange(len(named))
        for part, values in labels.items():
            unnamed = values[numbers[values] < 0]
            if len(unnamed):
                raise InputError(
                    f"{files[part, 'labels']} has the label {int(unnamed[0])}, which is not a class of {prefix}; fetch "
                    "the files again"
                )
        labels = {part: numbers[values] for part, values in labels.items()}
    highest = max((int(values.max()) for values in labels.values() if len(values)), default=0)
    classes = tuple(named.values()) or tuple(map(str, range(highest + 1)))
    upright = prefix.startswith("emnist-")
    train, test = (_split(files, part, labels.get(part), transposed=upright) for part in ("train", "test"))
    return DataSet(prefix, classes, train, test, notes=(TRANSPOSED,) if upright else (), counted=not named)


def _mapping(path: Path) -> dict[int, str]:
    """EMNIST's `-mapping.txt`: label -> character, from lines of a label and one or more character codes."""
    try:
        rows = [[int(field) for field in line.split()] for line in path.read_text(encoding="ascii").splitlines()]
        found = {row[0]: chr(row[1]) for row in sorted(row for row in rows if row)}
    except (ValueError, IndexError, OverflowError):
        found = {}
    if not found or not 0 <= min(found) <= max(found) <= 255:
        raise InputError(
            f"{path} is not a mapping of labels: each line must have a label and the code of a character"
        ) from None
    return found


def _labels(path: Path) -> Tensor:
    return torch.from_numpy(read_array(path, DIMENSIONS["labels"])).long()


def _split(files: Files, part: str, labels: Tensor | None, *, transposed: bool = False) -> Split | None:
    images = files.get((part, "images"))
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        present, missing = (files[part, "labels"], "images") if images is None else (images, "labels")
        raise InputError(
            f"{present.parent} has {present.name} but no {part} {missing}; the folder must contain both or neither"
        )
    pixels = torch.from_numpy(read_array(images, DIMENSIONS["images"]))[:, None]
    if len(pixels) != len(labels):
        file = files[part, "labels"]
        raise InputError(
            f"{images} contains {len(pixels):,} images and {file} {len(labels):,} labels; fetch both again"
        )
    return Split(InMemory(pixels.transpose(2, 3).contiguous() if transposed else pixels), labels)


def _part(data: DataSet, part: str) -> bool:
    return (data.train if part == "train" else data.test) is not None
