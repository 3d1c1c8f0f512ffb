"""Match the rows of a table of groups to images.

Rows are matched by a column of file names, else by their order. A table that contradicts itself or the data is
rejected: names of which only some are in the data, or a row index or classes in another order than the data.
"""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faal.data.dataset import Split
from faal.data.readers.class_folders import SUFFIXES
from faal.errors import InputError

FILE = "file"
"""The column of file names, where there is one of this name; else any column whose values are the data's file names."""

UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)*)?")
"""The header that pandas writes for its row index: an empty one, or, after reading that, `Unnamed: 0`."""

CLASS_COLUMNS = ("class", "label", "target", "y")

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class MatchedRows:
    """A table whose rows are matched to samples.

    Attributes:
        rows: one per sample, in the data's order.
        ignored: the columns that are not groupings.
        notes: how rows were matched and which columns were ignored, one sentence each.
    """

    rows: Rows
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


def match_rows(rows: Rows, columns: Sequence[str], split: Split, path: Path) -> MatchedRows:
    """The row of every sample.

    Args:
        rows: of the table, each a dict by column.
        columns: of the table.
        split: the samples; those of a folder have file names.
        path: the table's file, for messages.

    Raises:
        InputError: a sample has no row or several that differ, or the table contradicts the data's order.
    """
    values = {name: [row[name] for row in rows] for name in columns}
    names = _Names(split.files or ())
    naming = {
        name: names.candidates(values[name]) for name in columns if name == FILE or names.matches(name, values[name])
    }
    unnamed = [name for name in columns if UNNAMED.fullmatch(name) and name not in naming]
    plain = [name for name in columns if name not in naming and name not in unnamed]
    notes = [f"The column {name!r} of {path} has no name and was ignored." for name in unnamed]
    ignored = (*naming, *unnamed)
    if split.files is not None and (name := _chosen(naming, values, split.n, path)) is not None:
        matches_by_row = naming[name]
        if name != FILE:
            unmatched = sum(not candidates for candidates in matches_by_row)
            more = f"; {unmatched} rows name other images" if unmatched else ""
            notes.append(f"The rows of {path} were matched to images by its column {name!r}{more}.")
        return MatchedRows(_by_name(rows, matches_by_row, name, plain, split.files, path), ignored, tuple(notes))
    if len(rows) != split.n:
        by_name = f", or a column {FILE!r} that names their images" if split.files is not None else ""
        raise InputError(f"{path} has {len(rows)} rows for {split.n} samples; it needs one each, in order{by_name}")
    for name in unnamed:
        _check_index(values[name], name, path)
    for name in plain:
        if name.lower() in CLASS_COLUMNS:
            _check_classes(values[name], name, split, path)
    others = [name for name in plain if split.files is not None and any(map(_has_suffix, values[name]))]
    notes += [
        f"The column {name!r} of {path} names none of the data's images; rows were matched by their order."
        for name in others
    ]
    return MatchedRows(rows, (*ignored, *others), tuple(notes))


class _Names:
    """The names by which a table may refer to a data set's files.

    A file's names are its path below the folder (`test/CLASS/NAME.png`), the end of that path (`CLASS/NAME.png`,
    `NAME.png`), either without its suffix or with another one, and longer paths that end in it.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.count = len(files)
        self.depth = max((len(file.split("/")) for file in files), default=0)
        self.known: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, file in enumerate(files):
            parts = tuple(file.split("/"))
            for first in range(len(parts)):
                for key in {parts[first:], _without_suffix(parts[first:])}:
                    self.known[key].append(index)

    def candidates(self, values: Sequence[str]) -> list[list[int]]:
        """For each value the indices of the files that it may name."""
        return [self._candidates(_parts(value)) for value in values]

    def matches(self, column: str, values: Sequence[str]) -> bool:
        """Whether a column names images of the data; a column of numbers only if it names all of them."""
        if not self.count or (UNNAMED.fullmatch(column) and all(map(str.isdigit, values))):
            return False
        suffixed = any(map(_has_suffix, values))
        if not suffixed and len(set(values)) <= max(2, len(values) // 2):  # as in a grouping
            return False
        if all(value.strip().isdigit() for value in values):
            return len(_named_once(self.candidates(values))) == self.count
        return any(self._candidates(_parts(value)[-1:]) for value in values)

    def _candidates(self, parts: tuple[str, ...]) -> list[int]:
        end = parts[-self.depth :]
        return self.known.get(end) or (self.known.get(_without_suffix(end), []) if _has_suffix(end[-1]) else [])


def _chosen(
    naming: Mapping[str, list[list[int]]], values: Mapping[str, list[str]], count: int, path: Path
) -> str | None:
    """The column that rows are matched by; None where every column of file names is in the data's order."""
    if FILE in naming:
        return FILE
    reordered = [name for name, matches_by_row in naming.items() if not _is_in_order(matches_by_row, count)]
    if not reordered:
        return None
    best = max(naming, key=lambda name: len(_named_once(naming[name])))
    for name in naming:
        if len(_named_once(naming[name])) == count and naming[name] != naming[best]:
            raise InputError(
                f"the columns {best!r} and {name!r} of {path} name the images in different orders; rename the right "
                f"one to {FILE!r}"
            )
    if len(values[best]) == count and values[best] in (
        [str(index + start) for index in range(count)] for start in (0, 1)
    ):
        raise InputError(
            f"the column {best!r} of {path} may number the rows, or name the images, which are in another order; give "
            "the names their suffixes, or delete the column"
        )
    return best


def _named_once(matches_by_row: Sequence[list[int]]) -> set[int]:
    """The files that a column names unambiguously."""
    return {candidates[0] for candidates in matches_by_row if len(candidates) == 1}


def _is_in_order(matches_by_row: Sequence[list[int]], count: int) -> bool:
    """Whether the k-th row may name the k-th sample, for every k."""
    return len(matches_by_row) == count and all(index in candidates for index, candidates in enumerate(matches_by_row))


def _by_name(
    rows: Rows, matches_by_row: Sequence[list[int]], name: str, plain: Sequence[str], files: Sequence[str], path: Path
) -> Rows:
    """The row of each file, by the column `name`."""
    chosen: dict[int, dict[str, str]] = {}
    for row, candidates in zip(rows, matches_by_row, strict=True):
        if len(candidates) > 1:
            raise InputError(
                f"{path} has a row for {row[name]!r} in the column {name!r}, the name of {len(candidates)} images; "
                f"write their paths below the folder, such as {files[candidates[0]]}"
            )
        for index in candidates:
            other = chosen.setdefault(index, row)
            if any(other[column] != row[column] for column in plain):
                raise InputError(f"{path} has two rows for {files[index]}, and they differ; keep one of them")
    missing = [file for index, file in enumerate(files) if index not in chosen]
    if missing:
        more = f", nor for {len(missing) - 1} other images" if len(missing) > 1 else ""
        raise InputError(
            f"{path} has no row for {missing[0]}{more}; its column {name!r} names the images, by paths below the "
            "folder such as test/CLASS/NAME.png: give each image a row"
        )
    return [chosen[index] for index in range(len(files))]


def _check_index(values: Sequence[str], name: str, path: Path) -> None:
    """Reject row numbers, in a column without a name, that are not in increasing order."""
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        return
    if len(set(numbers)) == len(numbers) and numbers != sorted(numbers):
        raise InputError(
            f"the column {name!r} of {path} counts its rows in another order; sort them into the data's order and "
            "delete the column, or name the images in a column 'file'"
        )


def _check_classes(values: Sequence[str], name: str, split: Split, path: Path) -> None:
    """Reject a column of the samples' classes, by name or by number, in another order than the data's."""
    numbers = [str(label) for label in split.labels.tolist()]
    folders = [] if split.files is None else [Path(file).parent.name for file in split.files]
    stripped = [value.strip() for value in values]
    for classes in (numbers, folders):
        if set(stripped) == set(classes) and stripped != classes:
            row = next(index for index, pair in enumerate(zip(stripped, classes, strict=True)) if pair[0] != pair[1])
            raise InputError(
                f"the column {name!r} of {path} has {stripped[row]!r} for sample {row}, which is of class "
                f"{classes[row]!r}: the rows are in another order than the data; sort them into the data's order"
                + ("" if split.files is None else ", or name the images in a column 'file'")
            )


def _parts(value: str) -> tuple[str, ...]:
    """The parts of a path in a table."""
    return tuple(value.strip().replace("\\", "/").removeprefix("./").split("/"))


def _without_suffix(parts: tuple[str, ...]) -> tuple[str, ...]:
    """A path without an image's suffix."""
    return (*parts[:-1], os.path.splitext(parts[-1])[0]) if _has_suffix(parts[-1]) else parts


def _has_suffix(name: str) -> bool:
    return os.path.splitext(name.strip())[1].lower() in SUFFIXES
