"""The page's accuracies follow from the verdicts; where they do not, one sentence says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faal.errors import InputError
from faal.report.files.read import read_run

Write = Callable[..., dict[str, Any]]


def refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


def change_arrays(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(folder / "verdicts.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(folder / "verdicts.npz", **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["cw20_correct"].__setitem__(7, ~a["cw20_correct"][7]), "disagree .under cw20, .*samples of 0"),
        (lambda a: a["all_predicted"].__setitem__(7, (a["all_predicted"][7] + 1) % 10), "under all, the confusion"),
        (lambda a: a["label"].__setitem__(7, 3), "samples of 0"),
        (lambda a: a["label"].__setitem__(7, 99), "other classes"),
        (lambda a: a.pop("cw20_correct"), "different samples or attacks"),
        (lambda a: a.update(new_correct=a["all_correct"]), "different samples or attacks"),
        (lambda a: a.update({name: array[:-1] for name, array in a.items()}), "different samples or attacks"),
        (lambda a: a.update(index=a["index"][:-1]), "arrays of different lengths"),
        (lambda a: a.update(label=np.array(3)), "arrays of different lengths"),
        (lambda a: a.update(label=np.array(["cat"] * 400)), "array of another type"),
    ],
)
def test_verdicts_of_another_audit(tmp_path: Path, run_folder: Write, change: Any, message: str) -> None:
    run_folder(tmp_path)
    change_arrays(tmp_path, change)
    refused(tmp_path, message)


def test_accuracies_by_group(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path)
    change_arrays(tmp_path, lambda a: a.update(digit_group=a["label"]))
    audit["groups"] = {"digit": {name: dict(found) for name, found in audit["attacks"].items()}}
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(audit))
    assert read_run(tmp_path).audit.groups["digit"].keys() == audit["attacks"].keys()
    audit["groups"]["digit"]["pgd20"]["classes"] = audit["groups"]["digit"]["pgd20"]["classes"][::-1]
    path.write_text(json.dumps(audit))
    refused(tmp_path, "disagree .under pgd20, .*samples of 9")


@pytest.mark.parametrize("verdicts", [True, False])
@pytest.mark.parametrize("name", ["average", "balanced", "worst", "gap", "deviation"])
def test_an_accuracy_that_changed(tmp_path: Path, run_folder: Write, name: str, verdicts: bool) -> None:
    audit = run_folder(tmp_path)
    if not verdicts:
        (tmp_path / "verdicts.npz").unlink()
    audit["attacks"]["pgd20"][name]["value"] += 0.01
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    refused(tmp_path, f"under pgd20 the value of {name}")


def test_a_curves_accuracy_that_changed(tmp_path: Path, run_folder: Write, curve_folder: Write) -> None:
    run_folder(tmp_path)
    content = curve_folder(tmp_path / "curve-linf")
    content["points"][1]["classes"][4]["value"] = 0.999
    (tmp_path / "curve-linf" / "curve.json").write_text(json.dumps(content))
    refused(tmp_path, "curve.json .*the value of 4 is 0.999")
