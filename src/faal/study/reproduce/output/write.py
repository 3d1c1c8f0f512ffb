"""Write a table of a reproduction from its records, as `TABLE.md`, `.csv`, `.tex` and `.html`.

Accuracies are in per cent, mean and standard deviation (n - 1) over the seeds that have finished; the worst class is
that of each seed. No value is marked as the best: the deviations show whether two rows differ.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from faal.errors import InputError
from faal.report import wording
from faal.report.elements import Cell
from faal.study.reproduce.output.aggregate import RowSummary, SeedStatistics
from faal.study.reproduce.output.formats import MISSING, Column, TableContent, write_formats
from faal.study.reproduce.output.notes import introduction, table_notes
from faal.study.reproduce.rows import Record, Row, TableSpec
from faal.study.reproduce.scales import ProtocolName, ScaleName


def write_table(
    out: Path,
    table: TableSpec,
    records: Sequence[Record],
    *,
    scale: ScaleName,
    protocol: ProtocolName,
    seeds: int | None = None,
) -> list[Path]:
    """Write `TABLE.md`, `.csv`, `.tex` and `.html` into a folder: a line per row, in the table's order.

    Args:
        out: the folder.
        table: its rows; those without a record are shown as missing.
        records: of this table, in any order; of two for the same row and seed the later one is used.
        scale: of all records.
        protocol: of all records.
        seeds: the number requested per row; that of the records if None.

    Returns:
        The files written; the same records produce the same bytes.

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
    rows = [RowSummary(row, [by_row[row.name][seed] for seed in sorted(by_row[row.name])]) for row in table.rows]
    requested = seeds or len({record.seed for record in records})
    return write_formats(out, _content(table, rows, scale, protocol, requested))


def _content(
    table: TableSpec, summaries: Sequence[RowSummary], scale: ScaleName, protocol: ProtocolName, requested: int
) -> TableContent:
    records = [record for row in summaries for record in row.records]
    measured, printed = _measured(table, records), _printed(table)
    attacks = sorted({*measured, *printed}, key=lambda attack: _rank(attack, measured))
    columns = [Column(name="Model"), Column(name="Epochs")]
    for attack in attacks:
        group = wording.attack_name(attack)
        columns += [Column(name="measured", group=group)] if attack in measured else []
        columns += [Column(name="paper", group=group)] if attack in printed else []
    columns += [Column(name="Seconds per epoch"), Column(name="Finished")]
    bases = {summary.row.name: summary.row.label for summary in summaries}
    rows: list[list[Cell]] = []
    groups: list[int] = []
    for position, summary in enumerate(summaries):
        note = f"on {bases[summary.row.start]}" if summary.row.start in bases else ""
        cells = [Cell(text=summary.row.label, note=note, sort=position, numeric=False), _epochs_cell(summary)]
        for attack in attacks:
            cells += [_measured_cell(summary, attack)] if attack in measured else []
            cells += [_printed_cell(summary.row, attack)] if attack in printed else []
        finished = Cell(text=summary.progress(requested), sort=len(summary.records))
        rows.append([*cells, _seconds_cell(summary.seconds), finished])
        follows_fine_tune = position > 0 and summaries[position - 1].row.start is not None
        groups.append(position if position == 0 or (summary.row.start is None and follows_fine_tune) else groups[-1])
    complete = sum(summary.is_published or len(summary.records) >= requested > 0 for summary in summaries)
    return TableContent(
        name=table.name,
        kind=f"{_title(table.name)}, scale {scale}, protocol {protocol}",
        title=table.title if scale == "paper" else f"The rows of “{table.title}”, at scale {scale}",
        lead=introduction(scale, bool(printed)),
        progress=f"{complete} of {len(summaries)} rows have all their seeds ({requested}).",
        columns=columns,
        rows=rows,
        groups=groups,
        notes=table_notes(summaries, records, scale, protocol),
        data=[
            _data(table, summary, [a for a in attacks if a in measured], scale, protocol, requested)
            for summary in summaries
        ],
    )


def _measured(table: TableSpec, records: Sequence[Record]) -> set[str]:
    """The attacks with a measured column: those of any record, or those of the table without records.

    `all` has none where only one attack was run, since its values would be the same.
    """
    found = {attack for record in records for attack in record.attacks} or set(table.attacks)
    return found if len(found - {"clean", "all"}) > 1 else found - {"all"}


def _printed(table: TableSpec) -> set[str]:
    """The attacks of the table with a column of the paper's values."""
    return {attack for row in table.rows for attack in row.paper} & set(table.attacks)


def _rank(attack: str, measured: set[str]) -> tuple[int, str]:
    """Weak before strong; an attack of the paper that was not run is last, next to `all`, which replaces it."""
    order = ("clean", "pgd", "cw", "autoattack", "all")
    position = next((i for i, start in enumerate(order) if attack.startswith(start)), 2)
    return (len(order) if attack == "autoattack" and attack not in measured else position, attack)


def _epochs_cell(summary: RowSummary) -> Cell:
    return Cell(text=summary.epochs, sort=summary.records[0].epochs if summary.records else None)


def _seconds_cell(seconds: SeedStatistics) -> Cell:
    return Cell(text=seconds.text(1 if (seconds.mean or 0) >= 10 else 2), sort=seconds.mean)


def _measured_cell(summary: RowSummary, attack: str) -> Cell:
    average, worst = summary.accuracy(attack, "average"), summary.accuracy(attack, "worst")
    if average.mean is None:
        return Cell(text=MISSING)
    some = len(average.values) < len(summary.records)
    note = f"{len(average.values)} of {len(summary.records)} seeds" if some else ""
    return Cell(text=f"{average.text()} ({worst.text()})", note=note, sort=average.mean)


def _printed_cell(row: Row, attack: str) -> Cell:
    if attack not in row.paper:
        return Cell(text=MISSING)
    average, worst = row.paper[attack]
    return Cell(text=f"{average:.2f} ({worst:.2f})", sort=average)


def _data(
    table: TableSpec,
    summary: RowSummary,
    attacks: Sequence[str],
    scale: ScaleName,
    protocol: ProtocolName,
    requested: int,
) -> dict[str, str | float | int | None]:
    """The row of the CSV, unrounded."""
    row, records = summary.row, summary.records
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
        "seeds_wanted": requested,
        "test_images": _joined(record.n for record in records),
        "epochs": _joined(record.epochs for record in records),
        "seconds_per_epoch": summary.seconds.mean,
        "seconds_per_epoch_std": summary.seconds.deviation,
        "workers": _joined(record.workers for record in records),
    }
    for attack in attacks:
        for field in ("average", "worst"):
            statistics = summary.accuracy(attack, field)
            data |= {f"{attack}_{field}": statistics.mean, f"{attack}_{field}_std": statistics.deviation}
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


def _title(name: str) -> str:
    """`table1` as `Table 1`."""
    kind = name.rstrip("0123456789")
    return f"{kind.capitalize()} {name[len(kind) :]}".strip()
