"""Small multiples: the content of their panels, on one scale."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from faal.report.charts import panels as panel_charts
from faal.report.charts import svg

CLASSES = ["cat", "deer", "ship"]


def models(count: int, classes: int = 3) -> list[svg.Bars]:
    rng = np.random.default_rng(1)
    values = rng.uniform(0.1, 0.6, (count, classes))
    return [
        svg.Bars(name=f"m{i}", value=value, low=value - 0.05, high=value + 0.1, average=float(value.mean()))
        for i, value in enumerate(values)
    ]


def test_a_panel_per_model_with_its_worst_class_in_colour() -> None:
    shown = models(7)
    panels = panel_charts.class_panels(CLASSES, shown, end=0.7).axes
    assert [axes.get_title(loc="left") for axes in panels] == [model.name for model in shown]
    for axes, model in zip(panels, shown, strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], 100 * model.value)
        whiskers = np.array(axes.collections[0].get_segments())[:, :, 0]
        np.testing.assert_allclose(whiskers, 100 * np.stack([model.low, model.high], axis=1))
        coloured = [to_hex(bar.get_facecolor()) == panel_charts.WORST_COLOUR for bar in axes.patches]
        assert coloured == (model.value == model.value.min()).tolist()
        assert [text.get_text() for text in axes.texts] == [f"{100 * model.value.min():.0f}"]
        assert axes.get_xlim() == (0, pytest.approx(70))
        assert axes.yaxis_inverted()


def test_a_class_without_images_leaves_a_gap() -> None:
    (model,) = models(1)
    model.value[0] = model.low[0] = model.high[0] = np.nan
    (axes,) = panel_charts.class_panels(CLASSES, [model]).axes
    assert axes.patches[0].get_width() == 0
    assert [text.get_text() for text in axes.texts] == [f"{100 * np.nanmin(model.value):.0f}"]


def test_profiles_rise_and_their_lowest_tenth_is_in_colour() -> None:
    (model,) = models(1, classes=30)
    (axes,) = panel_charts.profiles([model]).axes
    every, tenth = axes.patches
    np.testing.assert_allclose(every.get_data().values, 100 * np.sort(model.value))
    np.testing.assert_allclose(tenth.get_data().values, 100 * np.sort(model.value)[:3])
    assert axes.get_ylim() == (0, 100)


@pytest.mark.parametrize("width", [svg.WIDE, svg.NARROW])
def test_names_of_neighbours_do_not_touch(width: float) -> None:
    figure = panel_charts.class_panels(["a class of long name", "b", "c"], models(5), width=width)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
