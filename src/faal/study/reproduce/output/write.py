"""The tables of a reproduction: records in, `TABLE.md`, `.csv`, `.tex` and `.html` out.

Accuracies are in per cent, mean and standard deviation (n - 1) over the seeds that have finished; the worst class is
each seed's own. No figure is marked as the best: what separates two rows is for their spread to say.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from faal.errors import InputError
from faal.report import wording
from faal.report.elements import Cell
from faal.study.reproduce.output.aggregate import Line, Spread
from faal.study.reproduce.output.formats import MISSING, Column, Sheet, write
from faal.study.reproduce.output.notes import lead, notes
from faal.study.reproduce.rows import Record, Row, Table


def write_all(
    out: Path, table: Table, records: Sequence[Record], *, scale: str, protocol: str, seeds: int | None = None
) -> list[Path]:
    """Writes `TABLE.md`, `.csv`, `.tex` and `.html` into a folder: a line per row, in the table's order.

    Args:
        out: the folder.
        table: its rows; those without a record are shown as missing.
        records: of this table, in any order, as many as there are; of two of one row and seed the later counts.
        scale: the scale they were made at.
        protocol: the protocol they were made under.
        seeds: how many a row is to have; otherwise as many as the records hold.

    Returns:
        The files written. The same records give the same bytes.

    Raises:
        InputError: a record is of another row, scale or protocol; a file cannot be written.
    """
    by_row: dict[str, dict[int, Record]] = {row.name: {} for row in table.rows}
    for record in records:
        if record.row not in by_row or (record.scale, record.protocol) != (scale, protocol):
            raise InputError(
                f"{record.row} at scale {record.scale}, protocol {record.protocol}, does not belong to {table.name} at "
                f"scale {scale}, protocol {protocol}; choose another folder with --out"
            )
        by_row[record.row][record.seed] = record
    lines = [Line(row, [by_row[row.name][seed] for seed in sorted(by_row[row.name])]) for row in table.rows]
    wanted = seeds or len({record.seed for record in records})
    return write(out, _sheet(table, lines, scale, protocol, wanted))


def _sheet(table: Table, lines: Sequence[Line], scale: str, protocol: str, wanted: int) -> Sheet:
    kept = [record for line in lines for record in line.records]
    measured, printed = _measured(table, kept), _printed(table)
    attacks = sorted({*measured, *printed}, key=lambda attack: _rank(attack, measured))
    columns = [Column(name="Model"), Column(name="Epochs")]
    for attack in attacks:
        group = wording.attack_name(attack)
        columns += [Column(name="ours", group=group)] if attack in measured else []
        columns += [Column(name="paper", group=group)] if attack in printed else []
    columns += [Column(name="Seconds per epoch"), Column(name="Finished")]
    bases = {line.row.name: line.row.label for line in lines}
    rows: list[list[Cell]] = []
    groups: list[int] = []
    for position, line in enumerate(lines):
        note = f"on {bases[line.row.start]}" if line.row.start in bases else ""
        cells = [Cell(text=line.row.label, note=note, sort=position, numeric=False), _epochs_cell(line)]
        for attack in attacks:
            cells += [_ours(line, attack)] if attack in measured else []
            cells += [_paper(line.row, attack)] if attack in printed else []
        done = Cell(text=line.progress(wanted), sort=len(line.records))
        rows.append([*cells, _seconds_cell(line.seconds), done])
        after_a_fine_tune = position > 0 and lines[position - 1].row.start is not None
        groups.append(position if position == 0 or (line.row.start is None and after_a_fine_tune) else groups[-1])
    complete = sum(line.given or len(line.records) >= wanted > 0 for line in lines)
    return Sheet(
        name=table.name,
        kind=f"{_called(table.name)}, scale {scale}, protocol {protocol}",
        title=table.title if scale == "paper" else f"The rows of “{table.title}”, at scale {scale}",
        lead=lead(scale, bool(printed)),
        progress=f"{complete} of {len(lines)} rows have all their seeds ({wanted}).",
        columns=columns,
        rows=rows,
        groups=groups,
        notes=notes(lines, kept, scale, protocol),
        data=[_data(table, line, [a for a in attacks if a in measured], scale, protocol, wanted) for line in lines],
    )


def _measured(table: Table, records: Sequence[Record]) -> set[str]:
    """The attacks with a column of ours: those of any record, the table's before there is one.

    `all` has none where one attack alone was run, whose figures it repeats.
    """
    found = {attack for record in records for attack in record.attacks} or set(table.attacks)
    return found if len(found - {"clean", "all"}) > 1 else found - {"all"}


def _printed(table: Table) -> set[str]:
    """The attacks with a column of the paper's: those that the table is about, where the paper has figures."""
    return {attack for row in table.rows for attack in row.paper} & set(table.attacks)


def _rank(attack: str, measured: set[str]) -> tuple[int, str]:
    """Weak before strong; a printed attack that was not run stands last, beside `all`, which stands in for it."""
    order = ("clean", "pgd", "cw", "autoattack", "all")
    place = next((i for i, start in enumerate(order) if attack.startswith(start)), 2)
    return (len(order) if attack == "autoattack" and attack not in measured else place, attack)


def _epochs_cell(line: Line) -> Cell:
    return Cell(text=line.epochs, sort=line.records[0].epochs if line.records else None)


def _seconds_cell(seconds: Spread) -> Cell:
    return Cell(text=seconds.told(1 if (seconds.mean or 0) >= 10 else 2), sort=seconds.mean)


def _ours(line: Line, attack: str) -> Cell:
    average, worst = line.of(attack, "average"), line.of(attack, "worst")
    if average.mean is None:
        return Cell(text=MISSING)
    some = len(average.values) < len(line.records)
    note = f"{len(average.values)} of {len(line.records)} seeds" if some else ""
    return Cell(text=f"{average.told()} ({worst.told()})", note=note, sort=average.mean)


def _paper(row: Row, attack: str) -> Cell:
    if attack not in row.paper:
        return Cell(text=MISSING)
    average, worst = row.paper[attack]
    return Cell(text=f"{average:.2f} ({worst:.2f})", sort=average)


def _data(
    table: Table, line: Line, attacks: Sequence[str], scale: str, protocol: str, wanted: int
) -> dict[str, str | float | int | None]:
    """The row for the CSV, unrounded."""
    row, records = line.row, line.records
    data: dict[str, str | float | int | None] = {
        "table": table.name,
        "row": row.name,
        "label": row.label,
        "method": row.method,
        "start": row.start,
        "scale": scale,
        "protocol": protocol,
        "seeds": " ".join(str(record.seed) for record in records),
        "seeds_finished": len(records),
        "seeds_wanted": wanted,
        "test_images": _joined(record.n for record in records),
        "epochs": _joined(record.epochs for record in records),
        "seconds_per_epoch": line.seconds.mean,
        "seconds_per_epoch_std": line.seconds.deviation,
        "workers": _joined(record.workers for record in records),
    }
    for attack in attacks:
        for field in ("average", "worst"):
            spread = line.of(attack, field)
            data |= {f"{attack}_{field}": spread.mean, f"{attack}_{field}_std": spread.deviation}
        classes = (str(record.attacks[attack]["worst_class"]) for record in records if attack in record.attacks)
        data[f"{attack}_worst_classes"] = "; ".join(classes)
    for attack in sorted(_printed(table), key=lambda name: _rank(name, {name})):
        average, worst = row.paper.get(attack, (None, None))
        data |= {f"{attack}_average_paper": average, f"{attack}_worst_paper": worst}
    data["commits"] = _joined(record.commit or "unknown" for record in records)
    data["notes"] = " ".join(dict.fromkeys(note for record in records for note in record.note))
    return data


def _joined(values: Iterable[object]) -> str:
    return " ".join(dict.fromkeys(str(value) for value in values))


def _called(name: str) -> str:
    """`table1` as `Table 1`."""
    kind = name.rstrip("0123456789")
    return f"{kind.capitalize()} {name[len(kind) :]}".strip()
