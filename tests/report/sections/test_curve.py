"""Accuracy against epsilon: read, drawn, on a page of its own and on a run's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.reader import heading, printed, read

from faal.errors import InputError
from faal.report import write_report
from faal.report.charts import svg
from faal.report.files.read import read_curves
from faal.report.sections.curve import draw_curve, robustness

Write = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("width", [svg.WIDE, svg.NARROW])
def test_the_lines_are_the_accuracies(tmp_path: Path, curve_folder: Write, width: float) -> None:
    content = curve_folder(tmp_path)
    (axes,) = robustness(read_curves(tmp_path)[0], width=width).axes
    points = content["points"]
    drawn = [np.asarray(line.get_ydata()) for line in axes.lines]
    for c in range(10):
        np.testing.assert_allclose(drawn[c], [100 * point["classes"][c]["value"] for point in points])
    for line, band, key in zip(drawn[10:], axes.collections, ("average", "worst"), strict=True):
        np.testing.assert_allclose(line, [100 * point[key]["value"] for point in points])
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() == pytest.approx(100 * min(point[key]["low"] for point in points))
        assert heights.max() == pytest.approx(100 * max(point[key]["high"] for point in points))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2/255", "4/255", "8/255"]
    names = sorted(text.get_text() for text in axes.texts)
    assert names == list("0123456789")
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert min(np.diff(heights)) > 0.04


def test_many_classes_have_no_names(tmp_path: Path, curve_folder: Write) -> None:
    curve_folder(tmp_path, classes=[f"c{i}" for i in range(30)])
    (axes,) = robustness(read_curves(tmp_path)[0]).axes
    assert len(axes.lines) == 32
    assert not axes.texts


@pytest.mark.medium
def test_a_page_of_its_own(tmp_path: Path, curve_folder: Write) -> None:
    content = curve_folder(tmp_path / "net" / "curve-linf", warnings=["Some warning."])
    curve_folder(tmp_path / "net" / "curve-l2", epsilons=(0.0, 0.25, 0.5), norm="l2")
    path = write_report([tmp_path / "net"])
    assert path == tmp_path / "net" / "report.html"
    reader = read(path)
    assert "Robustness curve of net" in reader.text
    assert heading(reader, path).startswith("From no attack to ε = 0.5, ")
    assert "Some warning." in reader.text
    assert "at every larger ε" in reader.text
    assert "training seed" in reader.text
    (table,) = [
        rows for caption, rows in reader.tables if caption.startswith("Accuracy at every ε") and rows[-1][0] == "8/255"
    ]
    for row, point in zip(table[1:], content["points"], strict=True):
        value, rest = printed(point["worst"]).split(" ", 1)
        assert row[1:] == [
            f"{value} “{point['worst']['class']}”, {rest}",
            printed(point["average"]),
            printed(point["gap"]),
        ]
    assert read(write_report([tmp_path / "net" / "curve-linf"])).rows("Accuracy of every class")["0"][0] == printed(
        content["points"][0]["classes"][0]
    )


@pytest.mark.medium
def test_a_run_shows_its_curve_too(tmp_path: Path, run_folder: Write, curve_folder: Write) -> None:
    for name in ("base", "repaired"):
        run_folder(tmp_path / name)
        curve_folder(tmp_path / name / "curve-linf")
    assert "Accuracy against ε, L∞" in read(write_report([tmp_path / "base"])).text
    both = read(write_report([tmp_path / "base", tmp_path / "repaired"])).text
    assert "Accuracy against ε, L∞: base" in both
    assert "Accuracy against ε, L∞: repaired" in both


@pytest.mark.medium
def test_files_for_papers(tmp_path: Path, curve_folder: Write) -> None:
    curve_folder(tmp_path)
    assert [path.name for path in draw_curve(tmp_path)] == ["curve.svg", "curve.pdf", "curve.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": []}, "it has no points"),
        ({"points": [{"epsilon": 0.0}]}, "it has no 'classes'"),
        ({"schema": "faal-audit/1"}, "has the schema 'faal-audit/1', not faal-curve/"),
    ],
)
def test_damage_is_reported_in_one_sentence(
    tmp_path: Path, curve_folder: Write, change: dict[str, Any], message: str
) -> None:
    content = curve_folder(tmp_path)
    (tmp_path / "curve.json").write_text(json.dumps(content | change))
    with pytest.raises(InputError, match=message):
        write_report([tmp_path])
