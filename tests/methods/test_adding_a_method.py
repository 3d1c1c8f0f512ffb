"""The worked example of docs/adding_a_method.md, as written there: short, registered, trained, and right."""

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.conftest import toy_data
from tests.train.test_loop import records, same

from faal import checkpoint
from faal.cli.listing import methods
from faal.config import Recipe, load_recipe, shipped
from faal.intermediate.class_rule import ClassRule, EpochStats
from faal.intermediate.class_stats import BatchStats, Need
from faal.methods import METHODS, table
from faal.models import Architecture, build_model
from faal.train.loop import train

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_method.md"
RULE, ROW, RECIPE = re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
NAME, COMMAND_NAME = "inverse-at", "digits-small-inverse-at"


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[ClassRule]:
    """The three pieces in their rooms: the module, the row, the recipe beside the shipped ones."""
    module = ModuleType("faal.intermediate.rules.inverse")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(RULE, vars(module))  # our own page
    rows = eval(f"{{{ROW}}}", vars(table) | {"InverseAccuracy": module.InverseAccuracy})
    assert list(rows) == [NAME]
    monkeypatch.setitem(METHODS, NAME, rows[NAME])
    recipes = shutil.copytree(shipped.RECIPES, tmp_path / "recipes")
    (recipes / "digits-small" / f"{NAME}.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.setattr(shipped, "RECIPES", recipes)
    return module.InverseAccuracy


def test_at_most_forty_lines() -> None:
    assert len((RULE + ROW + RECIPE).splitlines()) <= 40
    assert max(map(len, (RULE + ROW + RECIPE).splitlines())) <= 120


def test_the_page_names_the_places() -> None:
    page = PAGE.read_text(encoding="utf-8")
    source = Path(table.__file__).parents[1]
    for place in re.findall(r"`((?:intermediate|outer|inner|methods|config|study)/[\w/.]+)`", page):
        assert (source / place).exists(), place
    assert {"evaluation", "begin_epoch", "budget", "sampling", "weigh", "STATE", "first_epoch"} <= set(dir(ClassRule))


def test_the_weights_by_hand(rule: type[ClassRule]) -> None:
    """Accuracies 1/2, 1/4 and 0: with a floor of 1/10 the inverses are 2, 4 and 10, and their mean is 16/3."""
    made = rule(torch.tensor([5, 5, 5]))
    assert made.state_dict()["weights"].tolist() == [1, 1, 1]
    counts, correct = torch.tensor([4.0, 4.0, 3.0]), torch.tensor([2.0, 1.0, 0.0])
    made.begin_epoch(EpochStats(epoch=0, epochs=2))
    made.weigh(BatchStats(counts=counts, sums={Need.CORRECT: correct}))
    made.begin_epoch(EpochStats(epoch=1, epochs=2))
    weights = made.weigh(BatchStats(counts=counts, sums={Need.CORRECT: correct}))
    assert weights.robust.tolist() == pytest.approx([3 / 8, 6 / 8, 15 / 8])


@pytest.mark.medium
@pytest.mark.usefixtures("rule")
def test_two_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods(NAME)
    assert COMMAND_NAME in capsys.readouterr().out
    recipe = load_recipe(COMMAND_NAME)
    assert (recipe.method, recipe.constants, recipe.width) == (NAME, {"floor": 0.2}, 16)
    other = recipe.replace({"constants": "floor=0.3"}, source="test")  # as the page's second command has it
    assert METHODS[NAME].make_rule(other, torch.ones(3)).floor == 0.3
    recipe = recipe.replace({"epochs": 2, "width": 4, "steps": 2, "log_every": 1}, source="test")
    first, second = (run(recipe, tmp_path / place) for place in ("first", "second"))
    assert same(first["weights"], second["weights"])
    assert all(bool(weight.isfinite().all()) for weight in first["weights"].values())

    weights = [row["weights"] for row in records(tmp_path / "first") if row["event"] == "batch"]
    steps = len(weights) // 2
    assert weights[:steps] == [[1, 1, 1]] * steps
    assert weights[steps:] == [weights[steps]] * steps
    assert weights[steps] == pytest.approx(first["training"]["rule"]["weights"].tolist())
    assert len(set(weights[steps])) > 1
    assert sum(weights[steps]) == pytest.approx(3)


def run(recipe: Recipe, out: Path) -> dict:
    architecture = Architecture(model=recipe.model, num_classes=3, channels=1, width=recipe.width)
    net = build_model(architecture, seed=1)
    train(
        net, architecture, toy_data([40, 40, 40]), recipe, out=out, seed=1, device=torch.device("cpu"), quiet=True
    )  # fmt: skip
    return checkpoint.load(out / "last.pt")
