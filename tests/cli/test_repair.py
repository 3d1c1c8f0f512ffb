"""`faal repair`: its threat, and the notes on it."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.cli.conftest import Faal, arrays, network

from faal import checkpoint

SHORT = ("--epochs", "1", "--steps", "1", "--crop", "0", "--batch-size", "10", "--device", "cpu", "--out", "mended")


@pytest.fixture
def base(work: Path) -> Path:
    """A network for a data set of three classes, as if trained against a ball that no recipe has."""
    arrays(work, classes=np.array(["a", "b", "c"]))
    path = network(work, classes=3)
    trained = {"method": "pgd-at", "norm": "l2", "epsilon": 0.25, "step_size": 0.05}
    checkpoint.save(path, {**checkpoint.load(path), "classes": ["a", "b", "c"], "recipe": trained})
    return path


def of_the_repair(work: Path) -> tuple[str, float, float]:
    recipe = yaml.safe_load((work / "mended" / "config.yaml").read_text())["recipe"]
    return recipe["norm"], recipe["epsilon"], recipe["step_size"]


@pytest.mark.usefixtures("base")
def test_without_a_recipe_it_is_against_what_the_network_was_trained_against(work: Path, faal: Faal) -> None:
    said = faal("repair", "net.pt", "--data", "npz:data.npz", *SHORT)
    assert said.status == 0, said.err
    assert "repaired by cifar10-prn18-faal-at-repair, against l2 epsilon 0.25" in said.err
    assert of_the_repair(work) == ("l2", 0.25, 0.05)


@pytest.mark.usefixtures("base")
def test_the_command_line_overrides(work: Path, faal: Faal) -> None:
    said = faal("repair", "net.pt", "--data", "npz:data.npz", "--epsilon", "0.5", *SHORT)
    assert said.status == 0, said.err
    assert of_the_repair(work) == ("l2", 0.5, pytest.approx(0.1))  # the step size scales with the radius
    assert "reaches 0.1 of epsilon 0.5 in 1 steps" in said.err


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("options", "step"),
    [
        (("--norm", "linf", "--epsilon", "4/255"), 1 / 255),
        (("--epsilon", "0.5", "--step-size", "0.02"), 0.02),
        (("--norm", "linf", "--epsilon", "1"), 0.25),
    ],
)
def test_the_step_size_scales_with_the_radius_unless_it_is_given(
    work: Path, faal: Faal, options: tuple[str, ...], step: float
) -> None:
    said = faal("repair", "net.pt", "--data", "npz:data.npz", *options, *SHORT)
    assert said.status == 0, said.err
    assert of_the_repair(work)[2] == pytest.approx(step)


@pytest.mark.usefixtures("base")
def test_a_recipe_that_is_against_something_else_is_remarked(work: Path, faal: Faal) -> None:
    said = faal("repair", "net.pt", "debug", "--data", "npz:data.npz", *SHORT)
    assert said.status == 0, said.err
    assert "was trained against l2 epsilon 0.25 and is repaired against linf epsilon" in said.err


def test_a_network_without_adversarial_training_sets_no_threat(work: Path, base: Path, faal: Faal) -> None:
    state = checkpoint.load(base)
    checkpoint.save(base, {**state, "recipe": {**state["recipe"], "method": "standard"}})
    said = faal("repair", "net.pt", "--data", "npz:data.npz", *SHORT)
    assert "against linf epsilon 8/255" in said.err
