"""The folder of a reproduction: its settings, and the records of finished rows.

about/          scale, protocol, data and published bases, which are the same in every call
runs/           DATA-MODEL/ROW/seed-N: the run's folder of each network, as `faal train` writes it
results/        TABLE/ROW-seedN.json: a record per finished row and seed
claims/         the locks of work in progress
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faal.bounds.plain import parse_json
from faal.checkpoint import write_atomically
from faal.errors import MISFIT, InputError
from faal.study.reproduce.rows import Record, TableSpec


def record_path(out: Path, what: str, row: str, seed: int) -> Path:
    """The path of the record of a row and seed."""
    return out / "results" / what / f"{row}-seed{seed}.json"


def write_record(out: Path, record: Record) -> None:
    """Write a record atomically. Raises InputError where the folder cannot be written."""
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    write_atomically(record_path(out, record.what, record.row, record.seed), (text + "\n").encode())


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        InputError: the file cannot be read, or is of another version.
    """
    try:
        return Record(**parse_json(path.read_text(encoding="utf-8")))
    except (OSError, *MISFIT) as error:
        raise InputError(
            f"{path} is not a record of a row ({error}); remove it, and the row is evaluated again"
        ) from None


def records_of(out: Path, table: TableSpec) -> list[Record]:
    """All records of a table, by row in the table's order and then by seed."""
    positions = {row.name: position for position, row in enumerate(table.rows)}
    records = [read_record(path) for path in (out / "results" / table.name).glob("*.json")]
    known = [record for record in records if record.row in positions]
    return sorted(known, key=lambda record: (positions[record.row], record.seed))


def record_or_check(out: Path, subject: str, values: Mapping[str, Any]) -> None:
    """Record values about a folder, or check that those recorded there are the same.

    Args:
        out: the folder.
        subject: the name of this group of values.
        values: numbers, strings, lists and dictionaries.

    Raises:
        InputError: other values are recorded there, or the folder cannot be written.
    """
    path = out / "about" / f"{subject}.json"
    if not path.exists():
        write_atomically(path, json.dumps(dict(values), indent=1).encode())
    try:
        recorded = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read; choose another folder with --out, or remove this one") from None
    # A setting that is unset here may be unknown to the version that created the folder.
    if names := [name for name in {**recorded, **values} if recorded.get(name) != values.get(name)]:
        differ = "; ".join(f"{name} {recorded.get(name)!r} there, {values.get(name)!r} here" for name in names[:3])
        raise InputError(f"{out} contains another reproduction ({subject}: {differ}); choose another folder with --out")
