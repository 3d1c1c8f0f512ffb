"""Small multiples: one panel per model, on a common scale, to compare the accuracies per class of many models."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from faal.report.charts.svg import HALF, INK, MUTED, SERIES, STYLE, WIDE, Bars, short

COLUMNS, NARROW_COLUMNS = 5, 2
"""Panels in a row, on the page and on a phone."""

MAX_PANELS = 20
"""Panels in a drawing, so that it fits a printed page."""

WORST_COLOUR, OTHER_COLOUR = SERIES[2], SERIES[0]


@matplotlib.rc_context(STYLE)
def class_panels(classes: Sequence[str], models: Sequence[Bars], *, end: float = 1, width: float = WIDE) -> Figure:
    """A panel per model: a bar with its interval per class, first class on top; the worst in colour, with its number.

    Args:
        classes: their names (C,), in the order in which they are drawn.
        models: their accuracies (C,), not all nan.
        end: the upper limit of the scale, a fraction.
        width: inches.
    """
    figure, panels = _grid(models, width, 0.135 * len(classes) + 0.34)
    figure.supxlabel("accuracy, percent", fontsize=8.5, color=MUTED)
    y = np.arange(len(classes))
    for axes, model in zip(panels, models, strict=True):
        worst = int(np.nanargmin(model.value))
        colours = [WORST_COLOUR if i == worst else OTHER_COLOUR for i in y]
        axes.barh(y, np.nan_to_num(100 * model.value), height=0.76, color=colours)
        axes.hlines(y, 100 * model.low, 100 * model.high, color=INK, linewidth=0.6)
        axes.axvline(100 * model.average, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0.9)
        axes.annotate(
            f"{100 * model.value[worst]:.0f}",
            (100 * model.high[worst], worst),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_yticks(y, [short(name, 12) for name in classes], fontsize=7.5, color=INK)
        axes.set_xlim(0, 100 * end)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
    return figure


@matplotlib.rc_context(STYLE)
def profiles(models: Sequence[Bars], *, width: float = WIDE) -> Figure:
    """A panel per model: its classes from the worst to the best, the worst tenth in another colour."""
    figure, panels = _grid(models, width, 1.15 if len(models) > NARROW_COLUMNS else 1.9)
    figure.supxlabel("classes, worst first", fontsize=8.5, color=MUTED)
    figure.supylabel("accuracy, percent", fontsize=8.5, color=MUTED)
    for axes, model in zip(panels, models, strict=True):
        value = 100 * np.sort(model.value[np.isfinite(model.value)])
        tenth = math.ceil(len(value) / 10)
        axes.stairs(value, fill=True, color=OTHER_COLOUR)
        axes.stairs(value[:tenth], fill=True, color=WORST_COLOUR)
        axes.axhline(100 * model.average, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(0, len(value))
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 50, 100])
        axes.set_xticks([1, len(value)])
        axes.grid(axis="y")
    return figure


def _grid(models: Sequence[Bars], width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Axes titled with the models' names, with shared scales, in rows of panels of this height."""
    count = len(models)
    columns = min(count, COLUMNS if width > HALF else NARROW_COLUMNS)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width, rows * height + 0.35), layout="constrained")
    all_axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in all_axes[count:]:
        axes.remove()
    for axes in all_axes[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    for axes, model in zip(all_axes, models, strict=False):
        axes.set_axisbelow(True)
        axes.set_title(short(model.name, 22), loc="left", fontsize=8.5, color=INK)
    return figure, list(all_axes[:count])
