"""Accuracy against epsilon: made-up audits with known verdicts, and a small network end to end."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from faal.audit import AuditResult, audit
from faal.audit.estimates import summarise
from faal.audit.records.verdicts import Verdicts, with_all
from faal.audit.settings import AuditContext, AuditSettings
from faal.errors import InputError
from faal.study import curve as study_curve
from faal.study.curve import AccuracyCurve, curve_of, curve_table, radii

LABEL = np.repeat(np.arange(3), 100)
CLASSES = ["ant", "bee", "cat"]


def made(epsilon: float, robust: NDArray[np.bool_], **other: Any) -> AuditResult:
    """An audit at a radius in which these of 300 samples are robust; clean all are predicted correctly."""
    predictions = {"clean": LABEL, "pgd20": np.where(robust, LABEL, (LABEL + 1) % 3)}
    predicted = with_all(LABEL, {name: values.astype(np.int16) for name, values in predictions.items()})
    settings: dict[str, Any] = {
        "model": {"name": "net", "digest": "ab"},
        "data": {"name": "animals", "split": "test", "n": 300, "classes": CLASSES},
        "threat": {"norm": "linf", "epsilon": epsilon},
        "seed": 0,
        "engine": "reference",
        "block_size": 250,
        "level": 0.95,
        "interval_method": "",
        "warnings": (),
        "environment": {},
        "attacks": {
            name: summarise(LABEL, values, classes=CLASSES, level=0.95, parameters={}, seconds=1.0)
            for name, values in predicted.items()
        },
        "verdicts": Verdicts(label=LABEL, index=np.arange(300), predicted=predicted),
        "examples": None,
    }
    return AuditResult(**(settings | other))


def first(*counts: int) -> NDArray[np.bool_]:
    """(300,) True for the first `counts` samples of each class."""
    return np.arange(300) % 100 < np.repeat(counts, 100)


def test_a_curve_has_its_audits_in_order() -> None:
    found = curve_of([made(0.2, first(50, 20, 10)), made(0.1, first(90, 80, 70))])
    assert [point.epsilon for point in found.points] == [0, 0.1, 0.2]
    classes = [[entry.correct for entry in point.accuracies.classes] for point in found.points]
    assert classes == [[100, 100, 100], [90, 80, 70], [50, 20, 10]]
    assert [point.accuracies.worst.name for point in found.points[1:]] == ["cat", "cat"]
    expected = made(0.2, first(50, 20, 10)).attacks["pgd20"]
    last = found.points[-1].accuracies
    assert (last.average, last.worst, last.gap) == (expected.average, expected.worst, expected.gap)
    assert found.attacks == ("pgd20",)
    assert found.warnings == ()


def test_misclassified_stays_misclassified_and_many_robust_again_cause_a_warning() -> None:
    """At 0.2 the attack fails on 15 samples of the first class on which it succeeded at 0.1; at 0.3 it succeeds."""
    audits = [made(0.1, first(50, 60, 60)), made(0.2, first(65, 40, 60)), made(0.3, first(0, 40, 0))]
    found = curve_of(audits)
    correct = np.array([[entry.correct for entry in point.accuracies.classes] for point in found.points])
    assert correct.tolist() == [[100, 100, 100], [50, 60, 60], [50, 40, 60], [0, 40, 0]]
    assert (np.diff(correct, axis=0) <= 0).all()
    assert [point.robust_again for point in found.points] == [0, 0, 15, 0]
    (warning,) = found.warnings
    assert "At epsilon 0.2, 15 of 300 samples" in warning
    assert "gradients may be masked" in warning


def test_a_few_robust_again_cause_no_warning() -> None:
    found = curve_of([made(0.1, first(50, 50, 50)), made(0.2, first(53, 10, 10))])
    assert found.points[-1].robust_again == 3
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"model": {"digest": "cd"}}, "different models"),
        ({"threat": {"norm": "l2", "epsilon": 0.2}}, "different norms"),
        ({"threat": {"norm": "linf", "epsilon": 0.1}}, "two audits are at epsilon 0.1"),
    ],
)
def test_audits_that_form_no_curve(second: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        curve_of([made(0.1, first(9, 9, 9)), made(0.2, first(9, 9, 9), **second)])


def test_audits_of_one_network_under_two_names_form_a_curve() -> None:
    models = [{"name": name, "weights": "same", "digest": name} for name in ("before", "after")]
    found = curve_of([made(0.1, first(9, 9, 9), model=models[0]), made(0.2, first(9, 9, 9), model=models[1])])
    assert len(found.points) == 3


def test_no_audit_and_no_radius_are_refused_and_repetitions_count_once() -> None:
    with pytest.raises(InputError, match="at least one audit"):
        curve_of([])
    with pytest.raises(InputError, match="at least one epsilon"):
        radii([])
    assert radii([8 / 255, 0.1, 2 / 255, 8 / 255, 0.1 + 1e-12]) == pytest.approx((2 / 255, 8 / 255, 0.1))


@pytest.mark.medium
def test_the_files(tmp_path: Path) -> None:
    found = curve_of([made(8 / 255, first(50, 20, 10))])
    found.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"curve.{end}" for end in ("json", "csv", "svg", "pdf", "png")
    }
    content = json.loads((tmp_path / "curve.json").read_text())
    assert content["schema"] == "faal-curve/1"
    assert [point["classes"][2]["correct"] for point in content["points"]] == [100, 10]
    lines = list(csv.DictReader((tmp_path / "curve.csv").open()))
    worst = [(float(line["epsilon"]), line["of"], float(line["value"])) for line in lines if line["figure"] == "worst"]
    assert worst == [(0, "ant", 1), (8 / 255, "cat", 0.1)]
    assert len([line for line in lines if line["figure"] == "class"]) == 6


def test_the_table_is_the_curve() -> None:
    found = replace(curve_of([made(8 / 255, first(50, 20, 10))]), warnings=("it rains",))
    grid, note = curve_table(found).renderables  # type: ignore[union-attr]
    assert str(note) == "Note: it rains"
    epsilons, _, worst, which = ([str(cell) for cell in column.cells] for column in grid.columns)
    assert epsilons == ["0", "8/255"]
    assert worst[1].startswith("10.0 (")
    assert which == ["ant", "cat"]


def test_a_class_of_any_name_is_shown_as_it_is() -> None:
    """rich would take the name of a class in brackets for a style."""
    found = curve_of([made(8 / 255, first(50, 20, 10))])
    worst = replace(found.points[0].accuracies.worst, name="[red]")
    point = replace(found.points[0], accuracies=replace(found.points[0].accuracies, worst=worst))
    text = io.StringIO()
    Console(file=text, width=150).print(curve_table(replace(found, points=(point,))))
    assert "[red]" in text.getvalue()


def curve(net: nn.Module, images: Tensor, labels: Tensor, *, epsilons: list[float], **arguments: Any) -> AccuracyCurve:
    """`study.curve.curve` with the keyword arguments of `faal.audit`."""
    own = {name: arguments.pop(name) for name in ("norm", "attacks", "seed", "limit") if name in arguments}
    settings, context = AuditSettings.of(**own), AuditContext(**arguments)
    return study_curve.curve(net, images, labels, settings, context, epsilons=epsilons)


def linear() -> nn.Module:
    """Two classes that differ in one pixel: class 1 from 0.5 on. Accuracy at a radius is known exactly."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[-10.0, 0, 0, 0], [10.0, 0, 0, 0]]))
        net[1].bias.copy_(torch.tensor([5.0, -5.0]))
    return net


@pytest.mark.medium
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_end_to_end(tmp_path: Path, norm: str) -> None:
    """A sample is robust at a radius exactly if its pixel is further than that from 0.5, in either norm."""
    distance = torch.linspace(0.02, 0.4, 40)
    pixel = torch.cat([0.5 - distance, 0.5 + distance])
    images = torch.full((80, 1, 2, 2), 0.5)
    images[:, 0, 0, 0] = pixel
    labels = torch.arange(2).repeat_interleave(40)
    settings: dict[str, Any] = {"out": tmp_path, "norm": norm, "attacks": "pgd20", "classes": ["dark", "light"]}
    found = curve(linear(), images, labels, epsilons=[0.3, 0.1, 0.2], trained={"epsilon": 1e-4}, **settings)
    for point in found.points:
        expected = int((distance > point.epsilon).sum())
        assert [entry.correct for entry in point.accuracies.classes] == [expected, expected]
    folder = tmp_path / f"curve-{norm}"
    assert json.loads((folder / "curve.json").read_text())["norm"] == norm
    for name in ("epsilon-0.1", "epsilon-0.2", "epsilon-0.3"):
        assert AuditResult.read(folder / name).threat["norm"] == norm
    assert not [warning for warning in found.warnings if "trained at" in warning]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/blocks/*")}
    again = curve(linear(), images, labels, epsilons=[0.1, 0.2, 0.3], **settings)
    assert again.to_json()["points"] == found.to_json()["points"]
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/blocks/*")} == before


@pytest.mark.medium
def test_a_folder_of_another_model_is_refused_before_any_work(tmp_path: Path) -> None:
    """By its own audit, which is on one page with the curve, and by an audit at any radius, a later one too."""
    images, labels = torch.rand(4, 1, 2, 2), torch.arange(4) % 2
    own: dict[str, Any] = {"attacks": "pgd1", "data_record": {"name": "animals"}}
    audit(linear(), images, labels, epsilon=0.1, **own, out=tmp_path)
    curve(linear(), images, labels, epsilons=[0.1, 0.2], **own, out=tmp_path)
    audit(linear(), images, labels, epsilon=0.2, seed=1, **own, out=tmp_path / "later" / "curve-linf" / "epsilon-0.2")
    for net, out, other in (
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), tmp_path, {}),
        (linear(), tmp_path / "later", {}),
        (linear(), tmp_path, {"seed": 2}),
        (linear(), tmp_path, {"limit": 2}),
    ):
        forwards: list[object] = []
        net.register_forward_hook(lambda *_, calls=forwards: calls.append(1))
        with pytest.raises(InputError, match="contains an audit"):
            curve(net, images, labels, epsilons=[0.1, 0.2, 0.3], out=out, **own, **other)
        assert not forwards
    assert not (tmp_path / "curve-linf" / "epsilon-0.3").exists()
    renamed = own | {"data_record": {"name": "moved"}, "model_record": {"name": "moved"}}
    assert len(curve(linear(), images, labels, epsilons=[0.1, 0.2], out=tmp_path, **renamed).points) == 3


@pytest.mark.medium
@pytest.mark.parametrize("attacks", ["clean", [], iter(["clean"])])
def test_a_curve_without_attack_is_refused_before_any_work(tmp_path: Path, attacks: Any) -> None:
    images, labels = torch.rand(4, 1, 2, 2), torch.arange(4) % 2
    with pytest.raises(InputError, match="a curve needs an attack"):
        curve(linear(), images, labels, epsilons=[0.1, 0.2], attacks=attacks, out=tmp_path)
    assert not list(tmp_path.iterdir())
    curve(linear(), images, labels, epsilons=[0.1, 0.2], attacks=iter(["pgd1"]), out=tmp_path)
    again = curve(linear(), images, labels, epsilons=[0.1, 0.2], attacks="clean", out=tmp_path)
    assert again.attacks == ("pgd1",)  # of the audits in the folder


def test_a_radius_out_of_range_is_refused_before_any_audit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 8/255"):
        curve(linear(), torch.rand(4, 1, 2, 2), torch.arange(4) % 2, epsilons=[0.1, 8], out=tmp_path)
    assert not list(tmp_path.iterdir())
