"""Average against worst class: the Pareto front, and that no labels overlap."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from faal.report.charts import scatter, svg

NAMES = [f"method-{i:02d}/seed-{i % 3}" for i in range(40)]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_front_is_pareto_optimal() -> None:
    points = np.array([[0.5, 0.4], [0.6, 0.3], [0.55, 0.2], [0.45, 0.4], [0.6, 0.3]])
    assert scatter.on_frontier(points).tolist() == [True, True, False, False, True]
    axes = scatter.frontier(list("abcde"), points).axes[0]
    line = np.asarray(axes.lines[0].get_xydata())
    np.testing.assert_allclose(line[1:-1], [[50, 40], [60, 30], [60, 30]])
    assert line[0, 1] == pytest.approx(40)
    assert line[-1, 0] == pytest.approx(60)
    hollow, filled = (np.asarray(marks.get_offsets()) for marks in axes.collections)
    np.testing.assert_allclose(hollow, [[55, 20], [45, 40]])
    assert len(filled) == 3


def crowd(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(count).normal([0.45, 0.2], [0.03, 0.04], (count, 2))


@pytest.mark.medium
@pytest.mark.parametrize("width", [svg.WIDE, svg.NARROW])
@pytest.mark.parametrize("count", [4, 12, 40])
def test_labels_cover_nothing(count: int, width: float) -> None:
    figure = scatter.frontier(NAMES[:count], crowd(count), width=width)
    figure.draw_without_rendering()
    axes: Axes = figure.axes[0]
    frame = axes.get_window_extent()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line that leads to it
    assert len(boxes) == count
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    for place in axes.transData.transform(100 * crowd(count)):
        assert not any(box.contains(*place) for box in boxes)


def test_few_are_named_of_many_the_best() -> None:
    assert set(labels(scatter.frontier(NAMES[:5], crowd(5)))) == set(NAMES[:5])
    best = scatter.on_frontier(crowd(40))
    expected = {name if on else str(i + 1) for i, (name, on) in enumerate(zip(NAMES, best, strict=True))}
    assert set(labels(scatter.frontier(NAMES, crowd(40)))) == expected
