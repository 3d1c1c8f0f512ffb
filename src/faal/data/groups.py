"""Groups of samples other than their classes, such as a camera, a site or a skin tone: the columns of a CSV file."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faal.arguments import written
from faal.data.dataset import DataSet, Grouping, Split
from faal.data.group_rows import match_rows
from faal.errors import InputError, described, unknown


def grouping(name: str, values: Sequence[object]) -> Grouping:
    """A grouping from one value per sample.

    Args:
        name: the grouping's name.
        values: (N,) of any type; a group's name is the value as text.

    Raises:
        InputError: a sample has no value, or more than half of the values are different.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"a grouping has a name, a text such as 'camera', not {described(name)}")
    texts = [_as_text(value, name) for value in _listed(values, name)]
    if "" in texts:
        raise InputError(f"sample {texts.index('')} has no group in {name!r}; give it one, such as 'unknown'")
    names = sorted(set(texts), key=_order)
    if len(names) > max(2, len(texts) // 2):
        raise InputError(
            f"{name!r} has {len(names)} values for {len(texts)} samples: it names samples, not groups; "
            "choose another column, as FILE:COLUMN"
        )
    for text in (name, *names):
        written(text, f"a name in the groups {name!r}")
    indices = {group: index for index, group in enumerate(names)}
    return Grouping(name, tuple(names), torch.tensor([indices[text] for text in texts], dtype=torch.int64))


def read_groups(spec: str, split: Split) -> tuple[Grouping, ...]:
    """The groups of a data set's samples.

    Args:
        spec: `FILE`, a CSV file with a header and a column for each grouping, or `FILE:COLUMN` for one of them. There
            is a row per sample, in the data's order; for a folder of images a column such as `file` may name each
            row's image instead (`test/CLASS/NAME.png`), in any order, and rows of other images are ignored
            (`group_rows`).
        split: the samples.

    Returns:
        The groupings, each with one group per sample of `split`.

    Raises:
        InputError: no such file or column, not a table, samples without a group, rows in another order than the data.
    """
    return read_groups_noted(spec, split)[0]


def read_groups_noted(spec: str, split: Split) -> tuple[tuple[Grouping, ...], tuple[str, ...]]:
    """As `read_groups`, with notes: columns that were ignored, and the column that rows were matched by."""
    path, column = _parsed(spec)
    rows, columns = _rows(path)
    table = match_rows(rows, columns, split, path)
    named = [name for name in columns if name not in table.ignored]
    if not named:
        raise _no_table(path)
    if column is not None and column not in named:
        raise unknown("column", column, named, see=f"the header of {path}")
    chosen = named if column is None else [column]
    return tuple(grouping(name, [row[name] for row in table.rows]) for name in chosen), table.notes


def weighted_by(data: DataSet, spec: str) -> DataSet:
    """The data set with a grouping of its training part, which class rules weight instead of the classes.

    Args:
        data: the data set; needs a training part.
        spec: `FILE` or `FILE:COLUMN`, as in `read_groups`.

    Raises:
        InputError: as `read_groups`; or the file has several groupings and `spec` names none.
    """
    if data.train is None:
        raise InputError(f"{data.name} has no training images, which --groups requires")
    groupings, notes = read_groups_noted(spec, data.train)
    if len(groupings) > 1:
        names = ", ".join(grouping.name for grouping in groupings)
        raise InputError(f"{spec} has the columns {names}; training uses one of them: write {spec}:{groupings[0].name}")
    return replace(data, train=replace(data.train, grouping=groupings[0]), notes=(*data.notes, *notes))


def _parsed(spec: str) -> tuple[Path, str | None]:
    """The file, and the column after a colon."""
    path = Path(spec).expanduser()
    name, colon, column = spec.rpartition(":")
    if not path.exists() and colon and name:
        path = Path(name).expanduser()
        return path, column
    return path, None


def _rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """The rows, each a dict by column, and the columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            header = list(table.fieldnames or ())
            columns = _named([name.strip() for name in header])
            table.fieldnames = columns
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not a CSV file: {error}"
        raise InputError(f"cannot read the groups in {path} ({reason})") from None
    if "" in columns[1:]:
        raise InputError(
            f"column {columns.index('', 1) + 1} of {path} has no name; name it in the header, or delete it"
        )
    if not rows or len(set(columns)) < len(columns):
        raise _no_table(path)
    for mark in ";\t|":
        if len(columns) == 1 and mark in header[0] and all(mark in row[columns[0]] for row in rows):
            raise InputError(
                f"{path} separates its columns by {mark!r}; write it with commas (pandas: to_csv(sep=','))"
            )
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"line {line} of {path} does not have as many fields as the header")
    return rows, columns


def _named(columns: list[str]) -> list[str]:
    """The columns, those that pandas writes for an index of several levels with the names that it reads them by.

    It leaves the header of every level of an index empty, before all other columns.
    """
    levels = next((place for place, name in enumerate(columns) if name), len(columns))
    return [f"Unnamed: {place}" if 0 < place < levels else name for place, name in enumerate(columns)]


def _no_table(path: Path) -> InputError:
    return InputError(
        f"{path} is not a table of groups: it needs a header that names its columns, and a row per sample"
    )


def _listed(values: object, name: str) -> list[object]:
    """The groups of all samples as a list."""
    try:
        if isinstance(values, Tensor):
            values = values.tolist()
        if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping | set):
            return list(values)
    except (TypeError, RuntimeError):  # without dimensions, or on the device `meta`
        pass
    raise InputError(f"the groups in {name!r} are a list with one for each sample, not {described(values)}")


def _as_text(value: object, name: str) -> str:
    """A sample's group as text, empty where it is missing."""
    if isinstance(value, list | tuple | Mapping | set | np.ndarray | Tensor):
        raise InputError(f"a group in {name!r} is a text or a number, not {described(value)}")
    return "" if _is_missing(value) else str(value).strip()


def _is_missing(value: object) -> bool:
    """Whether a value is None or NaN, as in empty cells of tables."""
    return value is None or bool(value != value)


def _order(name: str) -> tuple[float, str]:
    """Sort key: numbers by size, then all other names alphabetically, so that every process has the same order."""
    try:
        number = float(name)
    except ValueError:
        number = math.inf
    return (number if math.isfinite(number) else math.inf), name
