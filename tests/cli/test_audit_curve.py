"""`faal audit` at several radii, on the command line."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Faal, arrays, network


@pytest.fixture
def desk(work: Path) -> Path:
    """A data set of three classes and an untrained network for it."""
    arrays(work)
    network(work, classes=3)
    return work


@pytest.mark.medium
def test_several_radii_give_the_curve_and_one_an_audit(desk: Path, faal: Faal) -> None:
    arguments = ("audit", "net.pt", "--data", "npz:data.npz", "--attacks", "pgd2", "--out", "run")
    said = faal(*arguments, "--epsilon", "8/255,2/255,8/255")
    assert said.status == 0, said.err
    assert "2/255" in said.out
    assert (desk / "run" / "report.html").is_file()
    curve = json.loads((desk / "run" / "curve-linf" / "curve.json").read_text())
    assert [point["epsilon"] for point in curve["points"]] == pytest.approx([0, 2 / 255, 8 / 255])
    assert not (desk / "run" / "audit.json").exists()
    said = faal(*arguments, "--epsilon", "8/255,8/255")
    assert said.status == 0, said.err
    assert json.loads((desk / "run" / "audit.json").read_text())["threat"]["epsilon"] == pytest.approx(8 / 255)
    page = (desk / "run" / "report.html").read_text(encoding="utf-8")
    assert "Accuracy against ε" in page


NONE = "epsilon is a number in units of images in [0, 1], such as 8/255"


@pytest.mark.parametrize(("epsilon", "message"), [("", NONE), ("2/255,", NONE), ("2/255,8", "8/255")])
def test_invalid_radii(desk: Path, faal: Faal, epsilon: str, message: str) -> None:
    said = faal("audit", "net.pt", "--data", "npz:data.npz", "--epsilon", epsilon, "--out", "run")
    assert said.status == 2, said.out
    assert message in said.err
    assert not (desk / "run").exists()
