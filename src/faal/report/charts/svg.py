"""Charts drawn with matplotlib: as SVG in the page, as PDF or PNG for papers.

Every chart is a `Figure` in the light palette. `svg` replaces its colours with the page's CSS variables, so that one
drawing serves the light and the dark scheme.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from faal.errors import InputError

INK, MUTED, RULE = "#1c2126", "#5c6670", "#d5dadf"
SERIES = ("#8793a1", "#0b6fb8", "#c87700", "#0a9468", "#b8609b")
"""First (before, base), last (after, repaired), and those between; distinguishable for colour-blind readers and in
grey."""

VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)},
}
"""The name of a colour in the page's style sheet."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # Only for the layout: in the page the text has the reader's font.
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "faal",
    "pdf.fonttype": 42,
    "text.usetex": False,  # a matplotlibrc in the current folder may set it, with a preamble for LaTeX to run
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

CLEAN = "without attack"
LEGEND: dict[str, Any] = {"handlelength": 1.2, "borderpad": 0.2}

WIDE, HALF, NARROW = 8.6, 4.1, 3.8
"""Widths in inches: the page's column, half of it, and a phone's."""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One model's bars: per class (C,) accuracies with intervals, the average, and optionally the clean accuracies."""

    name: str
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    average: float
    clean: NDArray[np.float64] | None = None


def series_colour(position: int, count: int) -> str:
    """The first of several is grey and the last is blue: before and after have the same colours on every page."""
    if position == count - 1:
        return SERIES[1]
    return SERIES[0] if position == 0 else SERIES[2 + (position - 1) % (len(SERIES) - 2)]


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure, in inches, with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    return figure, axes


def short(name: str, length: int = 16) -> str:
    """A name truncated to a length that fits next to a bar."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


@matplotlib.rc_context(STYLE)
def class_bars(classes: Sequence[str], models: Sequence[Bars], *, width: float = WIDE) -> Figure:
    """A bar with its interval per class and model, first class on top; a dashed line marks each model's average."""
    count = len(models)
    thickness = 0.8 / count
    row = 0.155 * max(count, 1.5) + 0.1
    figure, axes = one_axes(width, 0.75 + row * len(classes))
    positions = np.arange(len(classes))
    for position, model in enumerate(models):
        colour = series_colour(position, count)
        offset = positions + (position - (count - 1) / 2) * thickness
        value = np.nan_to_num(100 * model.value)
        axes.barh(offset, value, height=0.86 * thickness, color=colour, label=model.name)
        whiskers = np.clip([value - 100 * model.low, 100 * model.high - value], 0, None)
        axes.errorbar(value, offset, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=0.9, capsize=1.8, capthick=0.9)
        axes.axvline(100 * model.average, color=colour, linewidth=1.2, linestyle=(0, (4, 3)), zorder=0.9)
        if model.clean is not None:
            label = CLEAN if position == count - 1 else None
            axes.plot(100 * model.clean, offset, "|", color=INK, markersize=6, markeredgewidth=1.2, label=label)
    axes.set_yticks(positions, [short(name) for name in classes], color=INK)
    axes.set_ylim(len(classes) - 0.45, -0.55)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, percent")
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)
    if count > 1 or models[0].clean is not None:
        handles, labels = axes.get_legend_handles_labels()
        clean_last = sorted(zip(handles, labels, strict=True), key=lambda entry: entry[1] == CLEAN)
        columns = 2 if width < HALF else count + 1
        figure.legend(*zip(*clean_last, strict=True), loc="outside upper left", ncols=columns, **LEGEND)
    return figure


@matplotlib.rc_context(STYLE)
def slopes(models: Sequence[str], panels: Sequence[tuple[str, NDArray[np.float64]]], *, width: float = WIDE) -> Figure:
    """Accuracies of every training seed: a line connects the models of one seed, a bar marks each model's mean.

    Args:
        models: their names (R,).
        panels: (title, (S, R) fractions), on one scale, so that their slopes are comparable.
        width: inches.
    """
    figure = Figure(figsize=(width, 2.9), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True)
    positions = np.arange(len(models))
    for axes, (title, values) in zip(all_axes, panels, strict=True):
        axes.set_axisbelow(True)
        axes.plot(positions, 100 * values.T, color=MUTED, linewidth=0.8, alpha=0.55, zorder=1)
        for i in positions:
            colour = series_colour(int(i), len(models))
            axes.plot(np.full(len(values), i), 100 * values[:, i], "o", color=colour, markersize=5, markeredgewidth=0)
            axes.plot([i - 0.16, i + 0.16], 2 * [100 * values[:, i].mean()], color=colour, linewidth=2.4)
        axes.set_xticks(positions, models, color=INK, fontsize=8.5 if width > NARROW else 7.5)
        axes.set_xlim(-0.45, len(models) - 0.55)
        axes.set_title(title, loc="left", fontsize=9, color=INK)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
    all_axes[0].set_ylabel("accuracy, percent")
    all_axes[0].yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return figure


@matplotlib.rc_context(STYLE)
def curves(
    x: NDArray[np.float64], lines: Sequence[tuple[str, NDArray[np.float64]]], *, label: str, width: float = HALF
) -> Figure:
    """Lines over the epochs, each (T,); a nan is a gap."""
    figure, axes = one_axes(width, 0.62 * width)
    for position, (name, values) in enumerate(lines):
        colour = SERIES[1 + position % (len(SERIES) - 1)]
        axes.plot(x, values, label=name, color=colour, linewidth=1.7, marker="o", markersize=3.2 if len(x) <= 40 else 0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(axis="y")
    if len(lines) > 1:
        figure.legend(loc="outside upper left", ncols=3, **LEGEND)
    return figure


@matplotlib.rc_context(STYLE)
def weights_map(
    classes: Sequence[str],
    steps: NDArray[Any],
    multiples: NDArray[np.float64],
    *,
    width: float = WIDE,
    at: str = "batch",
    label: str = "weight, 1 = equal",
) -> Figure:
    """Class weights over the batches or epochs: multiples (C, T) of the uniform value, one row per class.

    Args:
        classes: C names.
        steps: (T,) numbers of the batches or epochs.
        multiples: (C, T).
        width: in inches.
        at: the unit of `steps`, the label of the horizontal axis.
        label: the label of the colour scale.
    """
    figure, axes = one_axes(width, 0.8 + 0.19 * max(len(classes), 4))
    maximum = float(np.quantile(multiples, 0.995))
    edges = (float(steps[0]), float(steps[-1]) + 1)
    image = axes.imshow(
        multiples,
        aspect="auto",
        interpolation="nearest",
        cmap="cividis",
        vmin=0,
        vmax=maximum,
        extent=(*edges, len(classes) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(classes)), [short(name) for name in classes], color=INK)
    axes.set_xlabel(at)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(
        image,
        ax=axes,
        pad=0.02,
        extend="max" if multiples.max() > maximum else "neither",
        aspect=14 if len(classes) < 12 else 30,
    )
    bar.outline.set_visible(False)
    bar.set_label(label)
    return figure


# --- files and SVG ---------------------------------------------------------------------------------------------------


def save(figure: Figure, path: Path) -> None:
    """Write a figure for a paper: PDF, PNG or SVG by the path's suffix."""
    file_suffix = path.suffix.lower()
    if file_suffix not in {".pdf", ".png", ".svg"}:
        raise InputError(f"{path} ends in {file_suffix!r}; a figure is saved as .pdf, .png or .svg")
    undated = {".pdf": {"CreationDate": None}, ".png": {}, ".svg": {"Date": None}}[file_suffix]
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, dpi=300, facecolor="white", metadata=undated)


def svg(figure: Figure, *, name: str, title: str, description: str) -> str:
    """A figure as an `<svg>` element for the page: with title and description, in the page's colours and the reader's
    font.

    Args:
        figure: any figure drawn in `STYLE`.
        name: prefix of every id, so that the ids of several drawings in one page differ.
        title: the title of the drawing, for screen readers.
        description: its content, for screen readers; the numbers are in the table below it.
    """
    buffer = BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        # matplotlib's style sheet would apply to the full page, and its metadata contain external addresses.
        for child in [c for c in parent if _local(c.tag) in {"style", "metadata"}]:
            parent.remove(child)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", buffer.getvalue().decode()))
    for element in root.iter():
        element.tag = _local(element.tag)
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        element.attrib = {_local(key): _themed(_local(key), value, name) for key, value in element.attrib.items()}
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    for position, (tag, suffix, text) in enumerate([("title", "title", title), ("desc", "desc", description)]):
        element = ElementTree.Element(tag, {"id": f"{name}-{suffix}"})
        element.text = text
        root.insert(position, element)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """A name without its XML namespace: an `<svg>` in HTML needs none."""
    return name.rpartition("}")[2]


def _themed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = re.sub(r"font(-family)?:[^;]*;?", lambda m: _size_only(m.group()), value)
        value = re.sub(r"#[0-9a-f]{6}", lambda m: VARIABLES.get(m.group(), m.group()), value)
    return value


def _size_only(declaration: str) -> str:
    size = re.search(r"[\d.]+px", declaration)
    return f"font-size: {size.group()};" if size else ""
