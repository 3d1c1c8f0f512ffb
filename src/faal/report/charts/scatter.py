"""Average against worst-class accuracy: a marker per model, the Pareto front, and labels without overlap."""

import itertools
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from faal.report.charts.svg import MUTED, SERIES, STYLE, WIDE, one_axes, short

NAMED = 12
"""The largest number of models that are all labelled by name; of more, those not on the Pareto front have a
number."""

MARK, LABEL = 44, 8
"""Area of a mark and size of a label, in points."""

DIRECTIONS = ((0, 1), (1, 0), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
DISTANCES = (6, 12, 20, 32, 46)
"""Possible distances of a label from its mark, in points, preferred ones first."""


def on_frontier(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(R,) whether the points (R, 2) are Pareto-optimal: no other is as good in both coordinates and better in one."""
    return np.array([not ((points >= p).all(axis=1) & (points > p).any(axis=1)).any() for p in points])


@matplotlib.rc_context(STYLE)
def frontier(names: Sequence[str], points: NDArray[np.float64], *, width: float = WIDE) -> Figure:
    """Average against worst-class accuracy of many models, labelled by name or by number, from 1, without overlap.

    Args:
        names: the names of the models (R,).
        points: (R, 2) average and worst-class accuracies, fractions; finite.
        width: inches.
    """
    figure, axes = one_axes(width, min(0.78 * width, 4.4))
    axes.margins(0.12)
    axes.set_xlabel("average, percent")
    axes.set_ylabel("worst class, percent")
    axes.grid()
    best, points = on_frontier(points), 100 * points
    axes.scatter(points[~best, 0], points[~best, 1], s=MARK, facecolor="none", edgecolor=MUTED, linewidth=1.2, zorder=2)
    axes.scatter(points[best, 0], points[best, 1], s=MARK, color=SERIES[1], linewidth=0, zorder=3)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    corners = points[best][np.argsort(points[best][:, 0])]
    line = np.concatenate([[[left, corners[0, 1]]], corners, [[corners[-1, 0], bottom]]])
    axes.step(line[:, 0], line[:, 1], where="pre", color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    all_named = len(names) <= NAMED
    texts = [[short(n, 24), str(i + 1)] if all_named or best[i] else [str(i + 1)] for i, n in enumerate(names)]
    first = sorted(range(len(names)), key=lambda i: not best[i])
    _label(figure, axes, points[first], [texts[i] for i in first], line)
    return figure


def _label(
    figure: Figure,
    axes: Axes,
    points: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    line: NDArray[np.float64],
) -> None:
    """Label each point, in this order, with the first of its texts that overlaps nothing, or only the line.

    A point without space for any text has no label; its name is in the table.
    """
    figure.draw_without_rendering()  # computes the layout
    pixel = figure.dpi / 72
    frame = axes.get_window_extent()
    positions = axes.transData.transform(points)
    half = pixel * MARK**0.5 / 2
    occupied_boxes = [Bbox.from_extents(*(position - half), *(position + half)) for position in positions]
    steps = _step_boxes(axes.transData.transform(line))
    for i, position in enumerate(positions):
        others = occupied_boxes[:i] + occupied_boxes[i + 1 :]
        for text, occupied in itertools.product(texts[i], (others + steps, others)):
            candidate = next(
                (c for c in _candidates(_size(axes, text), position, pixel) if _free(c[1], frame, occupied)), None
            )
            if candidate is not None:
                occupied_boxes.append(candidate[1])
                _write(axes, text, points[i], candidate[0])
                break


def _free(box: Bbox, frame: Bbox, occupied: Sequence[Bbox]) -> bool:
    inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    return inside and box.count_overlaps(occupied) == 0


def _step_boxes(line: NDArray[np.float64]) -> list[Bbox]:
    """The boxes, in pixels, of a line's steps: first the vertical, then the horizontal part."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        for start, end in (((x0, y0), (x0, y1)), ((x0, y1), (x1, y1))):
            low, high = np.minimum(start, end), np.maximum(start, end)
            boxes.append(Bbox.from_extents(*(low - 1), *(high + 1)))
    return boxes


def _size(axes: Axes, text: str) -> NDArray[np.float64]:
    """Width and height of a label, in pixels."""
    trial = axes.annotate(text, (0, 0), xycoords="axes fraction", fontsize=LABEL)
    box = trial.get_window_extent()
    trial.remove()
    return np.array([box.width, box.height])


def _candidates(
    size: NDArray[np.float64], position: NDArray[np.float64], pixel: float
) -> Iterator[tuple[tuple[float, float], Bbox]]:
    """Offsets of a label's centre from its point, in points, with the box of the label, in pixels."""
    for distance in DISTANCES:
        for direction in np.array(DIRECTIONS, dtype=np.float64):
            step = direction / np.linalg.norm(direction) * distance * pixel
            centre = position + step + direction * size / 2
            x, y = (centre - position) / pixel
            yield (float(x), float(y)), Bbox.from_extents(*(centre - size / 2), *(centre + size / 2))


def _write(axes: Axes, text: str, point: NDArray[np.float64], offset: tuple[float, float]) -> None:
    is_distant = np.hypot(*offset) > DISTANCES[2] and abs(offset[1]) > DISTANCES[1]
    axes.annotate(
        text,
        (float(point[0]), float(point[1])),
        xytext=offset,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=LABEL,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        if is_distant
        else None,
    )
