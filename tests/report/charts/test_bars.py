"""Class-wise bars: their heights, whiskers and numbers, that nothing overlaps, and the files."""

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from faal.errors import InputError
from faal.report.charts import bars
from faal.report.charts import svg as svg_charts

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MODELS = ["PGD-AT", "+ Fine-tune with FRL-RWRM 0.05", "FRL-RWRM 0.07", "FAAL_AT", "+ Fine-tune with FAAL_AT-AWP"]


def accuracies(models: int, classes: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.2, 0.9, (models, classes))


def five() -> tuple[np.ndarray, np.ndarray, Figure]:
    means, deviations = accuracies(5, 10), accuracies(5, 10) / 20
    series = {
        name: (list(mean), list(deviation)) for name, mean, deviation in zip(MODELS, means, deviations, strict=True)
    }
    return means, deviations, bars.class_bars(series, CIFAR10, "Robust accuracy per class")


def texts(axes: object) -> list[str]:
    return [text.get_text() for text in axes.texts]  # type: ignore[attr-defined]


def test_heights_whiskers_and_the_worst_class() -> None:
    means, deviations, figure = five()
    (axes,) = figure.axes
    np.testing.assert_allclose([patch.get_height() for patch in axes.patches], 100 * means.ravel())
    ends = np.concatenate([lines.get_segments() for lines in axes.collections])[:, :, 1]
    expected = 100 * np.stack([means - deviations, means + deviations], axis=-1)
    np.testing.assert_allclose(ends, expected.reshape(-1, 2))
    assert texts(axes) == [f"{100 * mean.min():.0f}" for mean in means]
    groups = [round(text.xy[0]) for text in axes.texts]  # type: ignore[attr-defined]
    assert groups == means.argmin(axis=1).tolist()
    assert [label.get_text() for label in axes.get_xticklabels()] == CIFAR10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == MODELS
    assert figure.legends[0].get_title().get_text() == "Robust accuracy per class"


def test_bars_of_one_class_are_side_by_side() -> None:
    figure = five()[2]
    patches = figure.axes[0].patches
    of_class = [[patches[10 * model + c] for model in range(5)] for c in range(10)]
    for c, group in enumerate(of_class):
        assert all(abs(patch.get_x() + patch.get_width() / 2 - c) < 0.5 for patch in group)
        assert all(a.get_x() + a.get_width() <= b.get_x() for a, b in pairwise(group))


@pytest.mark.parametrize("title", ["Short", "A title so long that it does not fit in one line of the figure, " * 3])
def test_nothing_overlaps_or_is_cut_off(title: str) -> None:
    series = dict(zip(MODELS, accuracies(5, 10).tolist(), strict=True))
    figure = bars.class_bars(series, CIFAR10, title)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
    assert legend.y1 <= figure.bbox.y1
    assert legend.y0 >= axes.get_window_extent().y1
    names = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(names))


def test_one_seed_has_no_whiskers_and_a_missing_class_no_bar() -> None:
    figure = bars.class_bars({"a": ([0.5, np.nan, 0.25], [np.nan] * 3)}, ["x", "y", "z"], "t")
    (axes,) = figure.axes
    assert len(axes.collections) == 0
    heights = [patch.get_height() for patch in axes.patches]
    np.testing.assert_array_equal(heights, [50, np.nan, 25])
    assert texts(axes) == ["25"]


def test_two_classes_are_no_pair_of_means_and_deviations() -> None:
    (axes,) = bars.class_bars({"a": (0.5, 0.25)}, ["x", "y"], "t").axes
    assert [patch.get_height() for patch in axes.patches] == [50, 25]


def test_many_classes_take_further_panels() -> None:
    values = accuracies(2, 30)
    figure = bars.class_bars({"a": values[0].tolist(), "b": values[1].tolist()}, [f"c{i}" for i in range(30)], "t")
    assert [len(axes.get_xticks()) for axes in figure.axes] == [10, 10, 10]
    heights = [[patch.get_height() for patch in axes.patches] for axes in figure.axes]
    np.testing.assert_allclose(heights, [100 * values[:, i : i + 10].ravel() for i in (0, 10, 20)])
    assert sorted(text for axes in figure.axes for text in texts(axes)) == sorted(
        f"{100 * low:.0f}" for low in values.min(axis=1)
    )


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({}, "nothing to draw"),
        ({"a": [0.5]}, "1 classes instead of 2"),
        ({"a": ([0.5, 0.5], [0.1])}, "a has accuracies"),
    ],
)
def test_wrong_numbers_of_classes_are_refused(series: dict[str, bars.Values], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bars.class_bars(series, ["x", "y"], "t")


@pytest.mark.medium
def test_the_files(tmp_path: Path) -> None:
    _, _, figure = five()
    paths = bars.save_figure(figure, tmp_path / "deep" / "figure2.1")
    assert [path.name for path in paths] == ["figure2.1.svg", "figure2.1.pdf", "figure2.1.png"]
    svg, pdf, png = paths
    root = ElementTree.parse(svg).getroot()
    shown = {"".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {*CIFAR10, *MODELS, "Robust accuracy per class"} <= shown
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    with Image.open(png) as image:
        assert image.width == pytest.approx(300 * svg_charts.WIDE, abs=1)
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 10
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in bars.save_figure(five()[2], tmp_path / "again")] == before


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        bars.save_figure(five()[2], tmp_path / "file" / "figure")
