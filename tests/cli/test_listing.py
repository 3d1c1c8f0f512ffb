"""`faal methods`: the list at the width of a terminal, and the details of a method in the form that options accept."""

import re
import shlex
from functools import cache

import pytest

from faal import config
from faal.cli.listing import methods
from faal.config import Recipe, load_recipe
from faal.errors import InputError
from faal.intermediate.class_rule import settings_of
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.uniform import Uniform
from faal.methods import METHODS

WIDTH = 80


@cache
def read_once(name: str) -> Recipe:
    return load_recipe(name)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setattr(config, "load_recipe", read_once)  # two hundred files for every method


def shown(capsys: pytest.CaptureFixture[str], *name: str) -> list[str]:
    methods(*name)
    return capsys.readouterr().out.splitlines()


def facts(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, str]:
    """The facts of a method by their names, lines joined."""
    found: dict[str, str] = {}
    fact = ""
    for line in shown(capsys, name)[3:]:
        fact = line[:10].strip() or fact
        found[fact] = f"{found.get(fact, '')} {line[11:].strip()}".strip()
    return found


def test_the_list_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys)
    assert max(len(line.rstrip()) for line in lines) <= WIDTH
    assert len(lines) < 2 * len(METHODS)
    rows = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in METHODS}
    assert list(rows) == list(METHODS)
    for name, row in METHODS.items():
        fields = re.split(r"  +", rows[name].strip())
        assert fields[1] == row.level
        assert (fields[2] == "yes") == row.steers
    assert rows["faal-dafa"].endswith("FAAL's weights on dafa" + " " * (WIDTH - len(rows["faal-dafa"].rstrip())))
    assert "FAAL's weights on pgd-at" in rows["faal-at"]


@pytest.mark.medium
@pytest.mark.parametrize("name", METHODS)
def test_the_details_of_a_method(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe accepts the constants and published settings as they are shown, and they are the row's."""
    lines = shown(capsys, name)
    assert lines[0] == name
    assert max(len(line.rstrip()) for line in lines) <= WIDTH
    shown_details, row = facts(capsys, name), METHODS[name]
    assert shown_details["reference"] == row.reference
    assert shown_details["recipes"].split() == sorted(shown_details["recipes"].split())
    assert all(load_recipe(recipe).method == name for recipe in shown_details["recipes"].split())

    constants = "" if shown_details["constants"] == "none" else shown_details["constants"]
    read = settings(Recipe(method=name).replace({"constants": constants}, source="test"))
    assert {constant: read[constant] for constant in row.constants} == row.constants
    if row.published:
        words = shlex.split(shown_details["published"])
        options = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
        taken, meant = (Recipe(method=name).replace(given, source="test") for given in (options, row.published))
        assert settings(taken) == settings(meant)
        assert taken.replace({"constants": {}}, source="test") == meant.replace({"constants": {}}, source="test")


def settings(recipe: Recipe) -> dict[str, object]:
    """The settings of the method's rule by a recipe."""
    row = METHODS[recipe.method]
    kind = FAAL if row.faal and row.rule is Uniform else row.rule
    return settings_of(kind, recipe, row.fixed)


@pytest.mark.medium
def test_what_methods_require(capsys: pytest.CaptureFixture[str]) -> None:
    found = {name: facts(capsys, name)["requires"] for name in ("standard", "faal-at", "dafa", "csr", "faal-cfa-at")}
    found |= {name: facts(capsys, name)["requires"] for name in ("frl-rw", "wat", "faal-wat")}
    assert found == {
        "standard": "nothing",
        "faal-at": "batches: margin",
        "dafa": "batches: probabilities",
        "csr": "before an epoch: PGD-10 on ce, the training images",
        "faal-cfa-at": "batches: correct, margin after an epoch, to decide whether it joins the weight average: PGD-10 "
        "on ce, withheld images",
        "frl-rw": "before an epoch: PGD-20 on ce, withheld images",
        "wat": "before an epoch: PGD-10 on kl, withheld images",
        "faal-wat": "before an epoch: PGD-10 on kl, withheld images batches: margin",
    }


def test_constants_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    dafa, frl, faal = (facts(capsys, name) for name in ("dafa", "frl-rw", "faal-trades-awp"))
    assert dafa["constants"] == "strength=1 start=7/11 clamped=true"
    assert frl["constants"] == "tolerance=0.05 rate=0:0.05,1/2:0.025 limit=0.5"
    assert (frl["fixed"], frl["settings"]) == ("margins=false margin_rate=0.2", "beta")
    assert faal["settings"] == "beta, tau, smoothing, statistic, awp_gamma, counted"
    assert (dafa["settings"], dafa["built on"]) == ("beta", "trades")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'cfa-trade'.*'cfa-trades'"):
        methods("cfa-trade")
