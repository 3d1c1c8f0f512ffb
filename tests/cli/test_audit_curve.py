"""`faal audit` at several radii, on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.test_bad_input import arrays, faal, network


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A data set of three classes and an untrained network for it."""
    arrays(tmp_path)
    network(tmp_path, classes=3)
    return tmp_path


def test_several_radii_give_the_curve_and_one_an_audit(desk: Path) -> None:
    arguments = ("audit", "net.pt", "--data", "npz:data.npz", "--attacks", "pgd2", "--out", "run")
    done = faal(*arguments, "--epsilon", "8/255,2/255,8/255", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "2/255" in done.stdout
    assert (desk / "run" / "report.html").is_file()
    curve = json.loads((desk / "run" / "curve-linf" / "curve.json").read_text())
    assert [point["epsilon"] for point in curve["points"]] == pytest.approx([0, 2 / 255, 8 / 255])
    assert not (desk / "run" / "audit.json").exists()
    done = faal(*arguments, "--epsilon", "8/255,8/255", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert json.loads((desk / "run" / "audit.json").read_text())["threat"]["epsilon"] == pytest.approx(8 / 255)
    page = (desk / "run" / "report.html").read_text(encoding="utf-8")
    assert "Accuracy against ε" in page


@pytest.mark.parametrize(("epsilon", "told"), [("", "--epsilon"), ("2/255,", "--epsilon"), ("2/255,8", "8/255")])
def test_radii_that_are_none(desk: Path, epsilon: str, told: str) -> None:
    done = faal("audit", "net.pt", "--data", "npz:data.npz", "--epsilon", epsilon, "--out", "run", cwd=desk)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (desk / "run").exists()
