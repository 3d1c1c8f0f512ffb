"""Groups other than the classes on the page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.report.reader import printed, read

from faal.report import write_report

pytestmark = pytest.mark.medium  # each writes pages

Write = Callable[..., dict[str, Any]]


@pytest.fixture
def by_camera(tmp_path: Path, run_folder: Write) -> Callable[..., dict[str, Any]]:
    """Writes a run whose audit has figures by camera: those of another audit of three classes."""

    def write(name: str, cameras: tuple[str, ...] = ("north", "south", "gate")) -> dict[str, Any]:
        audit = run_folder(tmp_path / name)
        groups: dict[str, Any] = {"camera": run_folder(tmp_path / "other" / name, classes=cameras)["attacks"]}
        (tmp_path / name / "audit.json").write_text(json.dumps(audit | {"groups": groups}))
        return groups["camera"]

    return write


def test_one_run(tmp_path: Path, by_camera: Callable[..., dict[str, Any]]) -> None:
    found = by_camera("base")
    reader = read(write_report([tmp_path / "base"]))
    rows = reader.rows("Accuracy by camera")
    for i, camera in enumerate(("north", "south", "gate")):
        assert rows[camera][0] == str(found["all"]["classes"][i]["n"])
        assert rows[camera][1] == printed(found["clean"]["classes"][i])
        assert rows[camera][-1] == printed(found["all"]["classes"][i])
    assert f"Robust accuracy on the worst group, “{found['all']['worst']['class']}”, is" in reader.text


def test_two_runs_side_by_side(tmp_path: Path, by_camera: Callable[..., dict[str, Any]]) -> None:
    both = [by_camera(name) for name in ("base", "repaired")]
    reader = read(write_report([tmp_path / "base", tmp_path / "repaired"]))
    assert reader.rows("Accuracy by camera")["gate"][1:] == [printed(found["all"]["classes"][2]) for found in both]
    assert "repaired: Robust accuracy on the worst group" in reader.text


def test_different_groups_are_not_compared(tmp_path: Path, by_camera: Callable[..., dict[str, Any]]) -> None:
    by_camera("base")
    by_camera("repaired", ("east", "west"))
    assert "Accuracy by camera" not in read(write_report([tmp_path / "base", tmp_path / "repaired"])).text
