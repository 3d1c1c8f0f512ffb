"""The folder of a reproduction: what it is about, and the records of the rows that are done.

about/          scale, protocol, data and published bases: what another call has to agree with
runs/           DATA-MODEL/ROW/seed-N: the run's folder of each network, as `faal train` makes it
results/        TABLE/ROW-seedN.json: a record per finished row and seed
claims/         who is at work on what
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faal.checkpoint import write_whole
from faal.errors import InputError
from faal.study.reproduce.rows import Record, Table


def record_path(out: Path, what: str, row: str, seed: int) -> Path:
    """Where the record of a row and seed is."""
    return out / "results" / what / f"{row}-seed{seed}.json"


def write_record(out: Path, record: Record) -> None:
    """Keep a record, whole or not at all. Raises InputError where the folder cannot be written."""
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    write_whole(record_path(out, record.what, record.row, record.seed), (text + "\n").encode())


def read_record(path: Path) -> Record:
    """A record.

    Raises:
        InputError: it cannot be read, or is of another version.
    """
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no record of a row ({error}); remove it, and it is made again") from None


def records_of(out: Path, table: Table) -> list[Record]:
    """All records of a table, by row in the table's order and then by seed."""
    places = {row.name: place for place, row in enumerate(table.rows)}
    records = [read_record(path) for path in (out / "results" / table.name).glob("*.json")]
    known = [record for record in records if record.row in places]
    return sorted(known, key=lambda record: (places[record.row], record.seed))


def settle(out: Path, subject: str, facts: Mapping[str, Any]) -> None:
    """Write down what the folder is about, or find that it is about the same.

    Args:
        out: the folder.
        subject: which of its facts.
        facts: plain values.

    Raises:
        InputError: the folder says otherwise, or cannot be written.
    """
    path = out / "about" / f"{subject}.json"
    if not path.exists():
        write_whole(path, json.dumps(dict(facts), indent=1).encode())
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path} does not read; choose another folder with --out, or remove this one") from None
    # A setting that is unset here may be unknown to the version that began the folder.
    if names := [name for name in {**kept, **facts} if kept.get(name) != facts.get(name)]:
        differ = "; ".join(f"{name} {kept.get(name)!r} there, {facts.get(name)!r} here" for name in names[:3])
        raise InputError(f"{out} holds another reproduction ({subject}: {differ}); choose another folder with --out")
