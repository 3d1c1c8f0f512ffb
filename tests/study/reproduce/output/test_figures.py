"""The figures' bars: values, rows and files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faal.report.charts.bars import Values
from faal.study.reproduce.output import figures
from faal.study.reproduce.rows import Record, TableSpec
from faal.study.reproduce.tables import FIGURE1, FIGURE2, FIGURE3, TABLE2

CLASSES = [f"class{c}" for c in range(4)]


def record(table: TableSpec, row: str, seed: int, robust: str = "all") -> Record:
    """A record whose figures depend on the seed."""
    clean = [0.9, 0.8, 0.7, 0.6 + seed / 100]
    attacked = [value / 2 for value in clean]
    return Record(
        what=table.name, row=row, seed=seed, scale="small", protocol="honest", method=row, epochs=6,
        seconds_per_epoch=1.0, workers=1, n=100, note=[], commit=None, environment={},
        attacks={name: {"average": 0.5, "worst": min(found), "worst_class": "class3", "classes": found}
                 for name, found in (("clean", clean), (robust, attacked))},
    )  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Values]]:
    """Title -> series of every figure; the figures are drawn all the same."""
    real, drawings = figures.class_bars, {}

    def class_bars(series: Mapping[str, Values], classes: Sequence[str], title: str) -> Any:
        drawings[title] = series
        return real(series, classes, title)

    monkeypatch.setattr(figures, "class_bars", class_bars)
    return drawings


def test_a_table_has_no_figure(tmp_path: Path) -> None:
    assert figures.draw_figure(tmp_path, TABLE2, [record(TABLE2, "trades", 1)], CLASSES) == []
    assert figures.draw_figure(tmp_path, FIGURE3, [], CLASSES) == []
    assert list(tmp_path.iterdir()) == []


def test_rows_side_by_side_mean_and_deviation_over_seeds(
    tmp_path: Path, drawn: dict[str, Mapping[str, Values]]
) -> None:
    records = [record(FIGURE3, row, seed) for row in ("wat", "trades") for seed in (1, 2, 3)]
    paths = figures.draw_figure(tmp_path, FIGURE3, records, CLASSES)
    assert sorted(path.name for path in paths) == ["figure3.pdf", "figure3.png", "figure3.svg"]
    assert all(path.stat().st_size > 1000 for path in paths)
    ((title, series),) = drawn.items()
    assert "all attacks" in title
    assert list(series) == ["TRADES", "WAT_TRADES"]  # in the table's order
    mean, deviation = series["TRADES"]
    np.testing.assert_allclose(mean, [0.45, 0.4, 0.35, 0.31])
    np.testing.assert_allclose(deviation, [0, 0, 0, 0.005], atol=1e-12)


@pytest.mark.medium
def test_one_seed_has_no_deviation(tmp_path: Path, drawn: dict[str, Mapping[str, Values]]) -> None:
    figures.draw_figure(tmp_path, FIGURE2, [record(FIGURE2, "pgd-at--faal-at", 1, "autoattack")], CLASSES)
    ((title, series),) = drawn.items()
    assert "AutoAttack" in title
    assert list(series) == ["FAAL_AT"]
    assert np.isnan(series["FAAL_AT"][1]).all()


def test_figure_1_has_a_panel_for_each_network(tmp_path: Path, drawn: dict[str, Mapping[str, Values]]) -> None:
    records = [record(FIGURE1, row, 1) for row in ("standard", "pgd-at")]
    paths = figures.draw_figure(tmp_path, FIGURE1, records, CLASSES)
    assert {path.stem for path in paths} == {"figure1-standard", "figure1-pgd-at"}
    assert all(list(series) == ["clean", "all attacks"] for series in drawn.values())
