"""The page of thousands of classes: both ends of every table, and charts that do not grow with the classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.reader import read

from faal.report import write_report
from faal.report.sections import common, curve, training

Write = Callable[..., dict[str, Any]]
NAN = float("nan")
CLASSES = [f"c{i}" for i in range(40)]


@pytest.fixture(autouse=True)
def _forty_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "MAX_ROWS", 12)
    monkeypatch.setattr(training, "MANY_CLASSES", 39)
    monkeypatch.setattr(training, "ENDS_SHOWN", 6)
    monkeypatch.setattr(curve, "MAX_LINES", 39)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.5, 0.1, 0.4, 0.2], [0, 1, 2, 3]),
        ([0.5, NAN, 0.4, 0.2], [0, 1, 2, 3]),
        ([0.5, 0.1, 0.4, 0.3, 0.2, 0.6], [0, 1, 4, 5]),
        ([0.5, NAN, 0.4, 0.3, 0.2, 0.6], [0, 3, 4, 5]),
        ([0.5, NAN, 0.4, NAN, 0.2, NAN], [0, 2, 4]),
        ([NAN] * 5, []),
        ([0.5] * 5, [0, 1, 3, 4]),
    ],
)
def test_the_ends_are_the_lowest_and_the_highest(values: list[float], shown: list[int]) -> None:
    assert common.ends(np.array(values), 4).tolist() == shown


def ends(values: dict[str, float], count: int) -> set[str]:
    order = sorted(values, key=lambda name: values[name])
    return {*order[: count // 2], *order[-count // 2 :]}


def test_the_tables_have_both_ends_and_say_so(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "net", classes=CLASSES, per_class=101)
    page = read(write_report([tmp_path / "net"]))
    values = {entry["name"]: entry["value"] for entry in audit["attacks"]["all"]["classes"]}
    worst, bounded = (rows for name, rows in page.tables if name.startswith("Accuracy per class"))
    assert {row[0] for row in worst[1:]} == {*sorted(values, key=lambda name: values[name])[:10]}
    assert {row[0] for row in bounded[1:]} == ends(values, 12)
    assert "(12 of 40 classes: the lowest and the highest)" in page.text
    assert "Accuracy of all" not in page.text
    assert len(page.rows("Class weights over")) == 13
    assert "(6 of 40 classes: the lowest and the highest)" in page.text  # of the map


@pytest.mark.medium
@pytest.mark.parametrize("count", [2, 3])
def test_so_have_those_of_several_models(count: int, tmp_path: Path, run_folder: Write) -> None:
    folders = [tmp_path / f"net-{seed}" for seed in range(count)]
    for seed, folder in enumerate(folders):
        run_folder(folder, seed=seed, classes=CLASSES, epochs=0)
    page = read(write_report(folders))
    bounded = [rows for name, rows in page.tables if "(12 of 40 classes: the lowest and the highest)" in name]
    assert {len(rows) for rows in bounded} == {13}
    assert len(bounded) == (4 if count == 2 else 1)


def test_classes_without_images_are_left_out_first(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path, classes=CLASSES, epochs=0)
    path = tmp_path / "audit.json"
    audit = json.loads(path.read_text())
    (tmp_path / "verdicts.npz").unlink()
    for found in audit["attacks"].values():
        rows = found["classes"]
        for entry in rows[8:]:
            entry.update(n=0, correct=0, value=None, low=0.0, high=1.0)
        rates = [entry["value"] for entry in rows[:8]]
        n, correct = (sum(entry[key] for entry in rows) for key in ("n", "correct"))
        for name, value in (
            ("average", correct / n), ("balanced", np.mean(rates)), ("worst", min(rates)),
            ("gap", max(rates) - min(rates)), ("deviation", np.std(rates)), ("worst_tenth", min(rates)),
        ):  # fmt: skip
            found[name].update(value=float(value), low=0.0, high=1.0)
        worst = min(rows[:8], key=lambda entry: entry["value"])
        found["worst"]["class"], found["worst_tenth"]["classes"] = worst["name"], [worst["name"]]
        found.pop("confusion")
    path.write_text(json.dumps(audit))
    page = read(write_report([tmp_path]))
    (rows,) = [rows for name, rows in page.tables if "(8 of 40 classes: those with images)" in name]
    assert [row[0] for row in rows[1:]] == CLASSES[:8]


def test_the_lines_of_a_curve_are_deciles(tmp_path: Path, curve_folder: Write) -> None:
    curve_folder(tmp_path, classes=CLASSES)
    page = read(write_report([tmp_path]))
    assert "Thin lines: the deciles of the accuracies of 40 classes" in page.text
    assert "(12 of 40 classes: the lowest and the highest)" in page.text
