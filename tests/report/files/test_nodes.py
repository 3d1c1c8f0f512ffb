"""Any value of a recorded file may be of another kind: the report is the same, or the file is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.odd import replaced

from faal.errors import InputError
from faal.report.files.demo import read_demo
from faal.report.files.read import read_curves, read_run

pytestmark = pytest.mark.medium

Write = Callable[..., dict[str, Any]]
ALIKE = frozenset({"attacks", "groups", "packages"})


def survives(file: Path, contents: Any, read: Callable[[], object], text: Callable[[Any], str] = json.dumps) -> int:
    """Read the file with each of the contents; returns how many were refused."""
    refused = 0
    for place, content in contents:
        file.write_text(text(content))
        try:
            read()
        except InputError:
            refused += 1
        except Exception as error:
            pytest.fail(f"{file.name}, {place}: {error!r}")
    return refused


@pytest.mark.medium
def test_an_audit(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path)
    for name in ("verdicts.npz", "examples.npz", "metrics.jsonl"):
        (tmp_path / name).unlink()
    file = tmp_path / "audit.json"
    assert survives(file, replaced(json.loads(file.read_text()), ALIKE), lambda: read_run(tmp_path)) > 100


def test_a_log(tmp_path: Path, run_folder: Write) -> None:
    """Of each event one record is changed."""
    run_folder(tmp_path, epochs=2)
    for name in ("verdicts.npz", "examples.npz"):
        (tmp_path / name).unlink()
    file = tmp_path / "metrics.jsonl"
    end = {"event": "end", "notes": ["a note"]}
    rows = [*map(json.loads, file.read_text().splitlines()), end]
    rows = [row | {"select": {"average": 0.5, "worst": 0.25}} if row["event"] == "epoch" else row for row in rows]
    refused = 0
    for event in ("batch", "epoch", "end"):
        at = next(place for place, row in enumerate(rows) if row["event"] == event)
        changed = ((place, [*rows[:at], row, *rows[at + 1 :]]) for place, row in replaced(rows[at]))
        refused += survives(
            file, changed, lambda: read_run(tmp_path), lambda each: "".join(json.dumps(row) + "\n" for row in each)
        )
    assert refused > 10


def test_a_curve(tmp_path: Path, curve_folder: Write) -> None:
    curve_folder(tmp_path)
    file = tmp_path / "curve.json"
    assert survives(file, replaced(json.loads(file.read_text()), ALIKE), lambda: read_curves(tmp_path)) > 100


@pytest.mark.medium
def test_a_demo(tmp_path: Path, demo_folder: Write) -> None:
    demo_folder(tmp_path)
    file = tmp_path / "demo.json"
    assert survives(file, replaced(json.loads(file.read_text())), lambda: read_demo(tmp_path)) > 50
