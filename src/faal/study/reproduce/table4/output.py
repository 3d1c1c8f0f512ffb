"""Table 4 as files: the minutes per epoch and the requirements of each method."""

from collections.abc import Sequence
from pathlib import Path

from faal.report.elements import Cell, text_cell
from faal.study.reproduce.output.formats import MISSING, Column, TableContent, write_formats
from faal.study.reproduce.rows import Cost
from faal.study.reproduce.scales import ScaleName

SETTINGS = {"cifar10-prn18": "CIFAR-10 (PRN-18)", "cifar100-rn18": "CIFAR-100 (RN-18)"}
"""The column headings of table 4."""


def write_costs(out: Path, costs: Sequence[Cost], *, scale: ScaleName, notes: Sequence[str] = ()) -> list[Path]:
    """Write table 4, the minutes per epoch and the requirements of each method, as Markdown, CSV, LaTeX and HTML.

    Args:
        out: the folder.
        costs: one per row.
        scale: the scale of the measurement.
        notes: sentences on the measurement: machine, commit, how many epochs.

    Returns:
        The files written.

    Raises:
        InputError: a file cannot be written.
    """
    measured = dict.fromkeys(setting for cost in costs for setting in cost.minutes)
    printed = dict.fromkeys(setting for cost in costs for setting in cost.paper)
    settings = list(printed | measured)
    columns = [Column(name="Method")]
    for setting in settings:
        group = f"Minutes per epoch, {SETTINGS.get(setting, setting)}"
        columns += [Column(name="measured", group=group)] if setting in measured else []
        columns += [Column(name="paper", group=group)] if setting in printed else []
    columns += [Column(name=name) for name in ("Reweighting level", "Adversary free", "Validation set")]
    rows = []
    for position, cost in enumerate(costs):
        cells = [Cell(text=cost.label, sort=position, numeric=False)]
        for setting in settings:
            cells += [_minutes(cost.minutes.get(setting))] if setting in measured else []
            cells += [_minutes(cost.paper.get(setting))] if setting in printed else []
        yes_no = [text_cell("yes" if value else "no") for value in (cost.adversary_free, cost.steers)]
        rows.append([*cells, text_cell(cost.level), *yes_no])
    measured_count = sum(bool(cost.minutes) for cost in costs)
    return write_formats(
        out,
        TableContent(
            name="table4",
            kind=f"Table 4, scale {scale}",
            title="Minutes per epoch and requirements of the methods",
            lead=[
                "The columns “paper” are the values in the paper, measured on one NVIDIA 3090Ti: methods are "
                "comparable within a column, not between columns."
            ],
            progress=f"{measured_count} of {len(costs)} methods are measured.",
            columns=columns,
            rows=rows,
            groups=[0] * len(costs),
            notes=notes,
            data=[_cost_data(cost, list(measured), list(printed)) for cost in costs],
        ),
    )


def _minutes(value: float | None) -> Cell:
    if value is None:
        return Cell(text=MISSING)
    return Cell(text=f"{value:.2f}" if value >= 0.1 else f"{value:.2g}", sort=value)


def _cost_data(cost: Cost, measured: Sequence[str], printed: Sequence[str]) -> dict[str, str | float | int | None]:
    return {
        "method": cost.method,
        "label": cost.label,
        **{f"minutes_{setting}": cost.minutes.get(setting) for setting in measured},
        **{f"minutes_{setting}_paper": cost.paper.get(setting) for setting in printed},
        "level": cost.level,
        "adversary_free": str(cost.adversary_free).lower(),
        "validation_set": str(cost.steers).lower(),
    }
