"""Accuracy per class of several models as grouped bars, as in figures 1 to 3 of the paper; writing of figures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faal.errors import InputError
from faal.report.charts import svg

SUFFIXES = (".svg", ".pdf", ".png")

CLASSES_PER_PANEL = 12
"""The largest number of classes in one panel; more classes are in additional panels below."""

TITLE_LENGTH, LEGEND_LENGTH = 100, 112
"""Characters of the title, and of the legend, that fit into a line."""

Values: TypeAlias = Sequence[float] | tuple[Sequence[float], Sequence[float]]
"""The accuracies (C,) of a model, or their means and standard deviations over seeds, (C,) each; fractions."""


@matplotlib.rc_context(svg.STYLE)
def class_bars(series: Mapping[str, Values], classes: Sequence[str], title: str) -> Figure:
    """Grouped bars: a group per class, a bar per model in the given order; the lowest bar of a model is labelled with
    its accuracy.

    Args:
        series: model -> accuracies (C,), fractions in [0, 1], or a tuple of their means and standard deviations over
            seeds. A nan is a gap; a standard deviation of nan (one seed) has no whisker.
        classes: their names (C,).
        title: printed above the legend.

    Raises:
        InputError: there is no model or no class, or a model has another number of classes.
    """
    if not series or not classes:
        raise InputError(f"{title}: there is nothing to draw; bars per class need at least one model and one class")
    values = [_read(name, given, len(classes)) for name, given in series.items()]
    panels = math.ceil(len(classes) / CLASSES_PER_PANEL)
    per_panel = math.ceil(len(classes) / panels)
    figure = Figure(figsize=(svg.WIDE, 0.95 + 2.35 * panels), layout="constrained")
    all_axes = figure.subplots(panels, 1, sharey=True, squeeze=False)[:, 0]
    for panel, axes in enumerate(all_axes):
        shown = slice(panel * per_panel, min((panel + 1) * per_panel, len(classes)))
        _panel(axes, [svg.short(name, 14) for name in classes[shown]], per_panel)
        for i, (name, (mean, deviation)) in enumerate(zip(series, values, strict=True)):
            colour = svg.series_colour(i, len(series))
            _bars(axes, mean[shown], deviation[shown], i, len(series), colour, name)
            worst = int(np.nanargmin(mean)) if np.isfinite(mean).any() else -1
            if shown.start <= worst < shown.stop:
                _annotate(axes, worst - shown.start, mean[worst], deviation[worst], i, len(series))
    handles = all_axes[0].get_legend_handles_labels()
    titled = {"title": fill(title, TITLE_LENGTH), "title_fontsize": 9.5, "alignment": "left"}
    columns = max(1, LEGEND_LENGTH // (6 + max(map(len, series))))  # 6: a patch and the following space
    figure.legend(*handles, loc="outside upper left", ncols=columns, **titled, **svg.LEGEND)
    return figure


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as `stem.svg`, `stem.pdf` and `stem.png`.

    Raises:
        InputError: a file cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            svg.save(figure, path)
    except OSError as error:
        raise InputError(f"{stem} cannot be written ({error.strerror}); choose another folder with --out") from None
    return paths


def _read(name: str, given: Values, classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations, in per cent; those of one seed are nan."""
    pair = isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], float | int)
    mean, deviation = (100 * np.asarray(part, dtype=np.float64) for part in (given if pair else (given, [])))
    deviation = deviation if pair else np.full_like(mean, np.nan)
    if mean.shape != (classes,) or deviation.shape != (classes,):
        raise InputError(f"{name} has accuracies of {mean.size} classes instead of {classes}; pass one for each class")
    return mean, deviation


def _panel(axes: Axes, classes: Sequence[str], width: int) -> None:
    axes.set_axisbelow(True)
    axes.set_xticks(range(len(classes)), classes, color=svg.INK)
    axes.set_xlim(-0.55, width - 0.45)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy, percent")
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)


def _offset(i: int, count: int) -> tuple[float, float]:
    """Offset and width of the i-th of `count` bars of a group, as fractions of the group."""
    width = min(0.84 / count, 0.3)
    return (i - (count - 1) / 2) * width, width


def _bars(
    axes: Axes, mean: NDArray[np.float64], deviation: NDArray[np.float64], i: int, count: int, colour: str, name: str
) -> None:
    offset, width = _offset(i, count)
    x = np.arange(len(mean)) + offset
    axes.bar(x, mean, width=0.88 * width, color=colour, label=name)
    if np.isfinite(deviation).any():
        axes.errorbar(x, mean, deviation, fmt="none", ecolor=svg.INK, elinewidth=0.8, capsize=1.4, capthick=0.8)


def _annotate(axes: Axes, x: int, mean: float, deviation: float, i: int, count: int) -> None:
    """Print the accuracy of a model's worst class above its bar."""
    offset, _ = _offset(i, count)
    top = mean + (deviation if math.isfinite(deviation) else 0)
    axes.annotate(
        f"{mean:.0f}",
        (x + offset, top),
        xytext=(0, 1.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=6.8 if count > 3 else 7.8,
    )
