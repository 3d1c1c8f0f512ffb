"""The training curves, and the class-wise vectors of the method."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faal.report.charts import svg
from faal.report.elements import Cell, Chart, Section, Table, drawn, percent_cell, text_cell
from faal.report.files.per_class import VECTOR_NAMES, VectorNames, class_vectors
from faal.report.files.run import ClassVectors, RunFiles, TrainingLog
from faal.report.sections import common

RATE = ("learning_rate", "learning rate")
LOSS = (("loss", "loss"),)
ACCURACIES = (("accuracy", "training"), ("average", "hold-out"), ("worst", "hold-out, worst class"))
"""Fields of an epoch, and their labels on the page."""

MAX_COLUMNS = 160
"""The largest number of columns of the map of weights; with more batches each column is a mean over several."""

MANY_CLASSES, ENDS_SHOWN = 200, 40
"""Of more than `MANY_CLASSES` the map has those with the lowest and highest means, `ENDS_SHOWN` in total."""


def training_section(run: RunFiles, *, name: str, closed: bool = False) -> Section | None:
    """The content of `metrics.jsonl`: loss, accuracies on the hold-out, class weights; every chart with its table.

    Args:
        run: the run.
        name: prefix of the ids of the drawings; different for every run of a page.
        closed: the section is collapsed.
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
    varying = [found for found in class_vectors(training) if not np.allclose(found.values, 1, atol=1e-4)]
    for found in varying:
        chart, table = _map(run.audit.classes, found, VECTOR_NAMES[found.name], name)
        charts.append(chart)
        tables.append(table)
    if len(training.steps) and not varying:
        text.append("Every class had the same weight in all steps.")
    return Section(heading=f"Training of {run.name}", text=text, charts=charts, collapsed=tables, closed=closed)


def _curves(training: TrainingLog, name: str) -> list[Chart]:
    """Charts of loss and of accuracies, with the recorded columns."""
    if len(training.epochs) < 2:
        return []  # A single point is only in the table.
    x = np.array([epoch.number for epoch in training.epochs], dtype=np.float64)
    charts = []
    for key, title, axis, scale, columns in (
        ("loss", "Training loss per epoch", "loss", 1, LOSS),
        ("accuracy", "Accuracy under the attack of training per epoch", "accuracy, percent", 100, ACCURACIES),
    ):
        lines = [(label, scale * _column(training, field)) for field, label in _recorded(training, columns)]
        if not lines:
            continue
        ends = "; ".join(f"{label} from {values[0]:.3g} to {values[-1]:.3g}" for label, values in lines)
        drawing = svg.svg(svg.curves(x, lines, label=axis), name=f"{name}-{key}", title=title, description=f"{ends}.")
        charts.append(Chart(caption=title, wide=drawing))
    return charts


def _column(training: TrainingLog, field: str) -> NDArray[np.float64]:
    return np.array([getattr(epoch, field) for epoch in training.epochs], dtype=np.float64)


def _recorded(training: TrainingLog, columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(field, label) for field, label in columns if not np.isnan(_column(training, field)).all()]


def _epochs(training: TrainingLog) -> Table:
    numbers, accuracies = _recorded(training, (RATE, *LOSS)), _recorded(training, ACCURACIES)
    rows = [
        [
            Cell(text=str(epoch.number), sort=epoch.number),
            *(_number_cell(getattr(epoch, field)) for field, _ in numbers),
            *(percent_cell(getattr(epoch, field)) for field, _ in accuracies),
        ]
        for epoch in training.epochs
    ]
    head = ["Epoch", *(label for _, label in numbers), *(f"{label}, %" for _, label in accuracies)]
    return Table(caption="Loss and accuracy per epoch", head=head, rows=rows)


def _number_cell(value: float) -> Cell:
    return text_cell("–") if math.isnan(value) else Cell(text=f"{value:.4g}", sort=value)


def _map(classes: tuple[str, ...], vectors: ClassVectors, text: VectorNames, name: str) -> tuple[Chart, Table]:
    multiples, period = vectors.values, vectors.period
    mean = multiples.mean(axis=0)
    mapped = common.ends(mean, ENDS_SHOWN if len(classes) > MANY_CLASSES else len(classes))
    parts = np.array_split(np.arange(len(multiples)), min(MAX_COLUMNS, len(multiples)))
    binned = np.stack([multiples[part][:, mapped].mean(axis=0) for part in parts], axis=1)
    largest = int(np.argmax(mean))
    title = f"{text.title} per {period}"
    description = f"Largest on average: “{classes[largest]}”, {mean[largest]:.2f} times {text.unit}."
    names = [classes[i] for i in mapped]
    chart = drawn(
        f"{title}, in multiples of {text.unit}. {description}{common.ends_note(mapped, mean)}",
        lambda width: svg.weights_map(names, vectors.at, binned, width=width, at=period, label=text.label),
        name=f"{name}-{vectors.name}",
        title=title,
        description=description,
    )
    rows = [
        [text_cell(classes[i]), *(Cell(text=f"{v:.2f}", sort=float(v)) for v in (mean[i], low, high))]
        for i, (low, high) in enumerate(zip(multiples.min(axis=0), multiples.max(axis=0), strict=True))
    ]
    head = ["Class", text.mean, "Minimum", "Maximum"]
    count = f"{len(multiples):,} {period}{'' if len(multiples) == 1 else 'es' if period == 'batch' else 's'}"
    table = Table(caption=f"{text.title} over {count}, in multiples of {text.unit}", head=head, rows=rows)
    return chart, common.bounded(table, mean)
