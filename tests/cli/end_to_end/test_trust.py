"""Every command with a folder that somebody else made: a network `module:function` runs where the command names it."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from tests.cli.conftest import Faal, arrays
from torch import nn

from faal import checkpoint
from faal.config import Recipe
from faal.models import Architecture

EVIL = """
from pathlib import Path

from torch import nn

Path("imported").touch()

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def data():
    return {}
"""
SHORT = ("--epochs", "1", "--steps", "1", "--crop", "0", "--batch-size", "10", "--device", "cpu")
DATA = ("--data", "npz:data.npz")
AUDIT = ("--attacks", "clean,pgd2", "--epsilon", "0.1", "--device", "cpu")
COMMANDS = {
    "audit": ("audit", "run", *DATA, *AUDIT),
    "audit, a file": ("audit", "run/best.pt", *DATA, *AUDIT, "--out", "elsewhere"),
    "repair": ("repair", "run", "mine.yaml", *DATA, *SHORT, "--out", "mended"),
    "export": ("export", "run", "mine.pth"),
    "train": ("train", "mine.yaml", *DATA, *SHORT, "--out", "made"),
    "train by a run's config.yaml": ("train", "run/config.yaml", *DATA, *SHORT, "--out", "made"),
    "train by a base recipe": ("train", "based.yaml", *DATA, *SHORT, "--out", "made"),
}
TRUST = ("--model", "evil:build")


@pytest.fixture
def desk(work: Path) -> Path:
    """A run's folder and recipes that name a network in the current folder, and data."""
    arrays(work)
    (work / "evil.py").write_text(EVIL)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    state = {
        "architecture": asdict(Architecture(model="evil:build", num_classes=3, channels=1)),
        "classes": ["0", "1", "2"], "weights": net.state_dict(), "recipe": {"epsilon": 0.1, "method": "pgd-at"},
    }  # fmt: skip
    checkpoint.save(work / "run" / "best.pt", state)
    recipe = Recipe(model="evil:build", epsilon=0.1, step_size=0.05)
    (work / "mine.yaml").write_text(yaml.safe_dump(recipe.plain()))
    (work / "run" / "config.yaml").write_text(yaml.safe_dump({"recipe": recipe.plain(), "data": {"name": "evil:data"}}))
    (work / "based.yaml").write_text("base: mine\n")
    return work


@pytest.mark.medium
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused_unless_the_command_names_it(command: str, desk: Path, faal: Faal) -> None:
    before = {path for path in desk.rglob("*") if path.is_file()}
    said = faal(*COMMANDS[command])
    assert "--model evil:build" in said.err
    assert said.status == 2
    assert {path for path in desk.rglob("*") if path.is_file()} == before  # nothing was imported, nothing written

    said = faal(*COMMANDS[command], *TRUST)
    assert said.status == 0, said.err
    assert (desk / "imported").exists()


@pytest.mark.parametrize("command", ["repair", "train"])
def test_the_same_command_goes_on_and_the_next_one_names_it(command: str, desk: Path, faal: Faal) -> None:
    first = faal(*COMMANDS[command], *TRUST)
    (follows,) = (line for line in first.out.splitlines() if line.startswith("next: "))
    assert follows.endswith("--data npz:data.npz --model evil:build")
    (desk / "imported").unlink()
    assert faal(*COMMANDS[command]).status == 2
    assert not (desk / "imported").exists()
    assert faal(*COMMANDS[command], *TRUST).status == 0
    assert faal(*follows.split()[2:], *AUDIT).status == 0


def test_a_network_of_the_programs_own_needs_no_name_in_the_next_command(desk: Path, faal: Faal) -> None:
    said = faal("train", "mine.yaml", *DATA, *SHORT, "--out", "made", "--model", "small")
    (follows,) = (line for line in said.out.splitlines() if line.startswith("next: "))
    assert "--model" not in follows


def test_the_page_loads_no_network(desk: Path, faal: Faal) -> None:
    assert faal(*COMMANDS["audit"], *TRUST).status == 0
    (desk / "imported").unlink()
    assert faal("report", "run").status == 0
    assert not (desk / "imported").exists()


def test_another_name_is_in_the_audit(desk: Path, faal: Faal) -> None:
    (desk / "twin.py").write_text(EVIL)
    said = faal(*COMMANDS["audit"], "--model", "twin:build")
    assert said.status == 0, said.err
    assert "loaded into twin:build" in said.err
    assert "loaded into twin:build" in (desk / "run" / "audit.json").read_text(encoding="utf-8")


def test_the_zoo_takes_none(desk: Path, faal: Faal) -> None:
    for more in ((), TRUST):
        said = faal("publish", "run", "mine", *DATA, "--source", "mine", "--out", "zoo", *more)
        assert said.status == 2
        assert "evil:build" in said.err
    assert not (desk / "imported").exists()


@pytest.mark.medium
def test_blends_of_ones_own_network(desk: Path, faal: Faal) -> None:
    arrays_of_many(desk)
    said = faal(*COMMANDS["repair"], *TRUST, "--frontier", "--hold-out", "both", "--select-attack", "pgd1")
    assert said.status == 0, said.err
    assert (desk / "mended" / "blend-50.pt").exists()


def arrays_of_many(folder: Path) -> None:
    """Enough images of each class for some to be withheld."""
    labels = torch.arange(900) % 3
    arrays(folder, x_train=torch.rand(900, 8, 8).numpy(), y_train=labels.numpy())
