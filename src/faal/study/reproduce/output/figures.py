"""The paper's figures 1 to 3: accuracy per class, mean and standard deviation over the seeds of each row."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faal.report.charts.bars import Values, class_bars, save_figure
from faal.study.reproduce.rows import Record, Row, TableSpec

ATTACKS = {"clean": "clean", "autoattack": "AutoAttack", "all": "all attacks"}
"""Attack -> its name in the figures."""


def robust_attack(record: Record) -> str:
    """The attack of robust accuracy: AutoAttack, or all attacks together where it did not run."""
    return "autoattack" if "autoattack" in record.attacks else "all"


def draw_figure(out: Path, table: TableSpec, records: Sequence[Record], classes: Sequence[str]) -> list[Path]:
    """Draw the finished rows of a figure as SVG, PDF and PNG; nothing for a table.

    Figure 1 shows clean and robust accuracy, a panel per network; the others robust accuracy, in one panel.

    Returns:
        The files.
    """
    if not table.name.startswith("figure") or not records:
        return []
    attack = robust_attack(records[0])
    size = "" if records[0].scale == "paper" else f", at scale {records[0].scale}"
    rows = [row for row in table.rows if any(record.row == row.name for record in records)]
    if table.name == "figure1":
        panels = {
            f"figure1-{row.name}": (
                {ATTACKS[name]: _class_statistics(records, row, name) for name in ("clean", attack)},
                f"{row.label}: accuracy per class{size}",
            )
            for row in rows
        }
    else:
        series = {_short_label(row): _class_statistics(records, row, attack) for row in rows}
        panels = {table.name: (series, f"{table.title}{size} ({ATTACKS[attack]})")}
    return [
        path
        for stem, (series, title) in panels.items()
        for path in save_figure(class_bars(series, classes, title), out / stem)
    ]


def _short_label(row: Row) -> str:
    return row.label.removeprefix("+ Fine-tune with ")


def _class_statistics(records: Sequence[Record], row: Row, attack: str) -> Values:
    """Mean and standard deviation per class over the seeds; the deviation of a single seed is NaN."""
    found = np.array([record.attacks[attack]["classes"] for record in records if record.row == row.name], dtype=float)
    deviation = found.std(axis=0, ddof=1) if len(found) > 1 else np.full(found.shape[1], np.nan)
    return found.mean(axis=0).tolist(), deviation.tolist()
