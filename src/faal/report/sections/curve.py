"""Robust accuracy against epsilon: the figure, its section and its page."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faal.epsilon import epsilon_text
from faal.report import wording
from faal.report.charts.bars import save_figure
from faal.report.charts.svg import INK, LEGEND, MUTED, NARROW, SERIES, STYLE, WIDE, one_axes, short
from faal.report.elements import Cell, Page, Section, Table, drawn, estimate_cell, text_cell
from faal.report.files.read import read_curves
from faal.report.files.run import CurveRecord
from faal.report.sections.common import bounded, coverage_section

AVERAGE, WORST = SERIES[1], SERIES[2]

MAX_NAMES = 12
"""The largest number of classes whose lines are labelled with names."""

MAX_LINES, DECILES = 200, np.arange(1, 10) / 10
"""The largest number of classes with a line each; for more the lines are the deciles over the classes."""

MAX_TICKS = 9


@matplotlib.rc_context(STYLE)
def robustness(curve: CurveRecord, *, width: float = WIDE) -> Figure:
    """A thin line per class (or per decile, of many); average and worst class in colour with their intervals."""
    figure, axes = one_axes(width, min(0.75 * width, 4.6))
    epsilons = np.array(curve.epsilons)
    values = 100 * curve.values
    lines = values if len(curve.classes) <= MAX_LINES else np.nanquantile(values, DECILES, axis=1).T
    axes.plot(epsilons, lines, color=MUTED, linewidth=0.7, alpha=0.6, zorder=1)
    for name, colour, found in (
        ("average", AVERAGE, [point.average for point in curve.points]),
        ("worst class at each epsilon", WORST, [point.worst for point in curve.points]),
    ):
        value, low, high = 100 * np.array([(estimate.value, estimate.low, estimate.high) for estimate in found]).T
        axes.fill_between(epsilons, low, high, color=colour, alpha=0.22, linewidth=0, zorder=2)
        axes.plot(
            epsilons, value, color=colour, linewidth=2, marker="o", markersize=4, label=name, clip_on=False, zorder=3
        )
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy, percent")
    axes.set_xlabel(f"ε, {wording.norm(curve.norm)}")
    axes.grid(axis="y")
    if len(epsilons) <= MAX_TICKS:
        small = width <= NARROW
        axes.set_xticks(epsilons, [epsilon_text(e) for e in epsilons], fontsize=7 if small else 8.5)
    axes.set_xlim(0, epsilons[-1])
    if len(curve.classes) <= MAX_NAMES:
        _label_classes(axes, epsilons[-1], values, curve.classes)
    figure.legend(loc="outside upper left", ncols=1 if width <= NARROW else 2, **LEGEND)
    return figure


def _label_classes(axes: Axes, end: float, values: NDArray[np.float64], classes: Sequence[str]) -> None:
    """Label every line with its class at its right end, without overlap; (E, C) values in percent."""
    order = np.lexsort(values)  # by the last epsilon, then by the previous one
    order = order[np.isfinite(values[-1, order])]
    gap = 4.6
    label_heights = values[-1, order].copy()
    for i in range(1, len(label_heights)):
        label_heights[i] = max(label_heights[i], label_heights[i - 1] + gap)
    for i in reversed(range(len(label_heights))):
        label_heights[i] = min(label_heights[i], 100 - gap * (len(label_heights) - 1 - i))
    for c, height in zip(order, label_heights, strict=True):
        axes.annotate(
            short(classes[c], 12),
            (end, values[-1, c]),
            xytext=(1.05, height / 100),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1},
        )


def curve_section(curve: CurveRecord, *, name: str, run: str = "") -> Section:
    """The figure, its table, and the collapsed table of all classes.

    Args:
        curve: the curve.
        name: prefix of the ids of the drawing.
        run: the run's name, on a page of several runs.
    """
    attacks = wording.listing([wording.attack_name(attack) for attack in curve.attacks])
    many = len(curve.classes) > MAX_LINES
    lines = f"deciles of the accuracies of {len(curve.classes):,} classes" if many else "classes"
    chart = drawn(
        f"Accuracy under {attacks}. Bands: {100 * curve.level:g}{wording.NBSP}% intervals of the average and of the "
        f"worst class. Thin lines: the {lines}.",
        lambda width: robustness(curve, width=width),
        name=name,
        title=f"Accuracy against epsilon, {wording.norm(curve.norm)}",
        description=wording.curve_headline(curve),
    )
    gaps = all(point.gap is not None for point in curve.points)
    rows = [
        [
            _epsilon_cell(epsilon),
            estimate_cell(point.worst, f"“{short(point.worst_class)}”, "),
            estimate_cell(point.average),
            *([estimate_cell(point.gap)] if point.gap is not None and gaps else []),
        ]
        for epsilon, point in zip(curve.epsilons, curve.points, strict=True)
    ]
    head = ["ε", "Worst class, %", "Average, %", *(["Best minus worst class, points"] if gaps else [])]
    table = Table(caption="Accuracy at every ε, with intervals", head=head, rows=rows)
    per_class = Table(
        caption="Accuracy of every class in percent, with intervals",
        head=["Class", *(f"ε{wording.NBSP}={wording.NBSP}{epsilon_text(epsilon)}" for epsilon in curve.epsilons)],
        rows=[
            [text_cell(label), *(estimate_cell(point.classes[c].accuracy) for point in curve.points)]
            for c, label in enumerate(curve.classes)
        ],
    )
    text = [
        "An image that is misclassified at one ε counts as misclassified at every larger ε, whose ball contains the "
        "smaller one; so the curves never increase."
    ]
    heading = f"Accuracy against ε, {wording.norm(curve.norm)}" + (f": {run}" if run else "")
    collapsed = [bounded(per_class, curve.values[-1])]
    return Section(heading=heading, text=text, charts=[chart], tables=[table], collapsed=collapsed)


def curve_page(curves: Sequence[CurveRecord], *, name: str, title: str | None) -> Page:
    """The page of a folder that has curves and no audit at a single epsilon.

    Args:
        curves: one per norm.
        name: the name of the model.
        title: the page's title.
    """
    first = curves[0]
    settings = Table(
        caption="Model, data and environment",
        head=["Setting", "Value"],
        rows=[[text_cell(key.replace(".", " ").replace("_", " ")), text_cell(value)] for key, value in first.settings],
        sortable=False,
    )
    return Page(
        title=title or f"Robustness curve of {name}",
        headline=wording.curve_headline(first),
        lead=[f"{first.n:,} images of {first.data}."],
        warnings=list(dict.fromkeys(warning for curve in curves for warning in curve.warnings)),
        tiles_note="",
        tiles=[],
        sections=[
            *(curve_section(curve, name=f"curve-{i}") for i, curve in enumerate(curves)),
            coverage_section(first.level),
            Section(heading="Settings", tables=[settings]),
        ],
    )


def draw_curve(folder: Path) -> list[Path]:
    """Draw the curve of a folder's `curve.json` into the folder, as `curve.svg`, `curve.pdf` and `curve.png`.

    Raises:
        InputError: there is no curve, or it is damaged; a file cannot be written.
    """
    (curve,) = read_curves(folder)
    return save_figure(robustness(curve), folder / "curve")


def _epsilon_cell(epsilon: float) -> Cell:
    return Cell(text=epsilon_text(epsilon), sort=epsilon, numeric=False)
