"""The training curves, and what the method moved over the classes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faal.report.charts import svg
from faal.report.elements import Cell, Chart, Section, Table, drawn, percent_cell, text_cell
from faal.report.files.per_class import KINDS, Kind, moved_by
from faal.report.files.run import Moved, Run, Training

RATE = ("learning_rate", "learning rate")
LOSS = (("loss", "loss"),)
ACCURACIES = (("accuracy", "training"), ("average", "held out"), ("worst", "held out, weakest class"))
"""Fields of an epoch, and what the page calls them."""

MOST_COLUMNS = 160
"""Columns of the map of weights; batches between two of them are averaged."""


def training_section(run: Run, *, name: str, closed: bool = False) -> Section | None:
    """What `metrics.jsonl` tells: loss, accuracies on the held-out part, class weights; every chart with its table.

    Args:
        run: the run.
        name: starts the ids of the drawings; different for every run of a page.
        closed: the section opens on a click.
    """
    training = run.training
    if training is None:
        return None
    text = [f"{note}." for note in training.notes]
    charts: list[Chart] = []
    tables: list[Table] = []
    if training.epochs:
        charts += _curves(training, name)
        tables.append(_epochs(training))
    moved = [found for found in moved_by(training) if not np.allclose(found.values, 1, atol=1e-4)]
    for found in moved:
        chart, table = _map(run.audit.classes, found, KINDS[found.name], name)
        charts.append(chart)
        tables.append(table)
    if len(training.steps) and not moved:
        text.append("Every class weighed the same throughout.")
    heading = f"How {run.name} was trained"
    return Section(heading=heading, text=text, charts=charts, folded=tables, closed=closed)


def _curves(training: Training, name: str) -> list[Chart]:
    """Loss and accuracies, one chart each, of those columns that were measured."""
    if len(training.epochs) < 2:
        return []  # A point is no curve; the table has it.
    x = np.array([epoch.number for epoch in training.epochs], dtype=np.float64)
    charts = []
    for key, title, axis, scale, columns in (
        ("loss", "Training loss, epoch by epoch", "loss", 1, LOSS),
        ("accuracy", "Accuracy under the attack of training, epoch by epoch", "correct, percent", 100, ACCURACIES),
    ):
        lines = [(label, scale * _column(training, field)) for field, label in _measured(training, columns)]
        if not lines:
            continue
        ends = "; ".join(f"{label} from {values[0]:.3g} to {values[-1]:.3g}" for label, values in lines)
        drawing = svg.svg(svg.curves(x, lines, label=axis), name=f"{name}-{key}", title=title, description=f"{ends}.")
        charts.append(Chart(caption=title, wide=drawing))
    return charts


def _column(training: Training, field: str) -> NDArray[np.float64]:
    return np.array([getattr(epoch, field) for epoch in training.epochs], dtype=np.float64)


def _measured(training: Training, columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(field, label) for field, label in columns if not np.isnan(_column(training, field)).all()]


def _epochs(training: Training) -> Table:
    plain, accuracies = _measured(training, (RATE, *LOSS)), _measured(training, ACCURACIES)
    rows = [
        [
            Cell(text=str(epoch.number), sort=epoch.number),
            *(_plain(getattr(epoch, field)) for field, _ in plain),
            *(percent_cell(getattr(epoch, field)) for field, _ in accuracies),
        ]
        for epoch in training.epochs
    ]
    head = ["Epoch", *(label for _, label in plain), *(f"{label}, %" for _, label in accuracies)]
    return Table(caption="The epochs in figures", head=head, rows=rows)


def _plain(value: float) -> Cell:
    return text_cell("–") if math.isnan(value) else Cell(text=f"{value:.4g}", sort=value)


def _map(classes: tuple[str, ...], moved: Moved, kind: Kind, name: str) -> tuple[Chart, Table]:
    steps, multiples = moved.at, moved.values
    parts = np.array_split(np.arange(len(multiples)), min(MOST_COLUMNS, len(multiples)))
    binned = np.stack([multiples[part].mean(axis=0) for part in parts], axis=1)
    mean = multiples.mean(axis=0)
    most = int(np.argmax(mean))
    title = f"{kind.title}, {kind.pace} by {kind.pace}"
    described = f"“{classes[most]}” {kind.most}, {mean[most]:.2f} times {kind.unit} on average."
    chart = drawn(
        f"{title}, in multiples of {kind.unit}. {described}",
        lambda width: svg.weights_map(classes, steps, binned, width=width, at=kind.pace, label=kind.label),
        name=f"{name}-{moved.name}",
        title=title,
        description=described,
    )
    rows = [
        [text_cell(classes[i]), *(Cell(text=f"{v:.2f}", sort=float(v)) for v in (mean[i], low, high))]
        for i, (low, high) in enumerate(zip(multiples.min(axis=0), multiples.max(axis=0), strict=True))
    ]
    head = ["Class", kind.mean, "Least", "Greatest"]
    count = f"{len(multiples):,} {kind.pace}{'' if len(multiples) == 1 else 'es' if kind.pace == 'batch' else 's'}"
    table = Table(caption=f"{kind.title} over {count}, multiples of {kind.unit}", head=head, rows=rows)
    return chart, table
