"""The page of many runs: all accuracies of every audit, for any number of runs and classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.report.reader import heading, printed, read

from faal.report import write_report

pytestmark = pytest.mark.medium  # each writes pages

Write = Callable[..., dict[str, Any]]
NAMES = ("at", "trades", "mart", "faal")


@pytest.fixture
def four(tmp_path: Path, run_folder: Write) -> tuple[list[dict[str, Any]], Path]:
    """Four audits and their page."""
    audits = [run_folder(tmp_path / name, seed=i, lowest=0.2 + 0.05 * i) for i, name in enumerate(NAMES)]
    return audits, write_report([tmp_path / name for name in NAMES], names=[name.upper() for name in NAMES])


def test_every_run_has_a_row(four: tuple[list[dict[str, Any]], Path]) -> None:
    audits, path = four
    assert path.name == "comparison.html"
    reader = read(path)
    rows = reader.rows("All attacks together")
    for i, (name, audit) in enumerate(zip(NAMES, audits, strict=True)):
        under, clean = audit["attacks"]["all"], audit["attacks"]["clean"]
        number, worst, average, gap, deviation, clean_worst, clean_average = rows[name.upper()]
        assert number == str(i + 1)
        assert worst.startswith(f"{100 * under['worst']['value']:.1f} “{under['worst']['class']}”")
        assert gap.startswith(f"{100 * under['gap']['value']:.1f} ")
        assert clean_worst.startswith(f"{100 * clean['worst']['value']:.1f} ")
        assert [average, deviation, clean_average] == [
            printed(under["average"]),
            printed(under["deviation"]),
            printed(clean["average"]),
        ]
        assert reader.rows("PGD-20")[name.upper()][2] == printed(audit["attacks"]["pgd20"]["average"])
    best = max(audits, key=lambda audit: audit["attacks"]["all"]["worst"]["value"])
    assert f"{100 * best['attacks']['all']['worst']['value']:.0f} %" in heading(reader, path)
    assert "Audit of 4 models" in reader.text
    assert "single models, not methods" in reader.text
    assert "training seed" in reader.text


def test_every_class_has_a_column_and_a_row(four: tuple[list[dict[str, Any]], Path]) -> None:
    audits, path = four
    reader = read(path)
    (table,) = [rows for caption, rows in reader.tables if caption.startswith("Accuracy per class")]
    head, *rows = table
    for row, audit in zip(rows, audits, strict=True):
        expected = {entry["name"]: printed(entry) for entry in audit["attacks"]["all"]["classes"]}
        assert dict(zip(head[2:], row[2:], strict=True)) == expected
    over = reader.rows("Every class over the 4 models")
    for c, name in enumerate("0123456789"):
        values = [audit["attacks"]["all"]["classes"][c]["value"] for audit in audits]
        lowest, highest = (NAMES[values.index(end(values))].upper() for end in (min, max))
        assert over[name][1:] == [
            f"{100 * min(values):.1f} {lowest}",
            f"{100 * sum(values) / 4:.1f}",
            f"{100 * max(values):.1f} {highest}",
        ]


def test_common_settings_are_printed_once(tmp_path: Path, run_folder: Write) -> None:
    for name in NAMES:
        audit = run_folder(tmp_path / name, warnings=["class “8” has 24 images", *(["note"] if name == "mart" else [])])
        (tmp_path / name / "audit.json").write_text(json.dumps(audit | {"seed": NAMES.index(name)}))
    reader = read(write_report([tmp_path / name for name in NAMES]))
    assert reader.text.count("class “8” has 24 images") == 1
    assert "All models: class “8”" in reader.text
    assert "mart: note" in reader.text
    assert reader.rows("Common settings of all models")["data name"] == ["digits"]
    assert [row[-1] for row in reader.rows("Settings that differ").values()] == ["seed", "0", "1", "2", "3"]


def test_a_class_that_no_run_has_images_of(tmp_path: Path, run_folder: Write) -> None:
    for name in NAMES:
        run_folder(tmp_path / name, per_class=[40, 40, 0] + [40] * 7)
    rows = read(write_report([tmp_path / name for name in NAMES])).rows("Every class over the 4 models")
    assert rows["2"] == ["0", "–", "–", "–"]


def test_a_folder_of_runs_is_replaced_by_them(tmp_path: Path, run_folder: Write, curve_folder: Write) -> None:
    for method in ("at", "faal"):
        for seed in "12":
            run_folder(tmp_path / "runs" / method / seed)
    run_folder(tmp_path / "runs" / "at" / "1" / "curve-linf" / "epsilon-2-255")
    curve_folder(tmp_path / "runs" / "at" / "1" / "curve-linf")
    path = write_report([tmp_path / "runs"])
    assert path == tmp_path / "runs" / "comparison.html"
    assert list(read(path).rows("All attacks together"))[1:] == ["at/1", "at/2", "faal/1", "faal/2"]


@pytest.mark.slow
def test_forty_runs_and_a_hundred_classes_stay_small(tmp_path: Path, run_folder: Write) -> None:
    classes = [f"a class called {i}" for i in range(100)]
    for i in range(40):
        run_folder(tmp_path / f"run-{i}", seed=i, classes=classes, per_class=10, attacks=("clean", "pgd20", "all"))
    path = write_report([tmp_path])
    assert path.stat().st_size < 2_000_000
    reader = read(path)
    assert len(reader.rows("All attacks together")) == 41
    assert len(reader.rows("Every class over the 40 models")) == 101
    (shown,) = [rows for caption, rows in reader.tables if caption.startswith("Accuracy per class of the 10 classes")]
    assert {len(row) for row in shown} == {12}
