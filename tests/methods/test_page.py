"""docs/methods.md agrees with the code: names, levels, constants, schedules, published settings."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from faal.cli.listing import _option_text, _pairs
from faal.config import Recipe, epoch_of, load_recipe, number
from faal.intermediate.kldro import BALLS
from faal.methods import METHODS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")


def table(heading: str) -> list[dict[str, str]]:
    """The first table under a heading, a row as its cells by the names of the columns."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    head, _, *rows = lines
    assert all(len(row) == len(head) for row in rows)
    return [dict(zip(head, row, strict=True)) for row in rows]


def named(cell: str) -> set[str]:
    """The methods of a cell: names and patterns in backticks, after `all but` the others."""
    patterns = re.findall(r"`([^`]+)`", cell)
    assert all(any(fnmatch(name, pattern) for name in METHODS) for pattern in patterns), cell
    found = {name for name in METHODS if any(fnmatch(name, pattern) for pattern in patterns)}
    return set(METHODS) - found if cell.startswith("all but") else found


GLANCE = {name: row for row in table("At a glance") for name in named(row["method"])}


def test_every_method_has_one_line_and_a_paragraph() -> None:
    assert [name for row in table("At a glance") for name in re.findall(r"`([^`]+)`", row["method"])] == list(METHODS)
    openings = " ".join(re.findall(r"^\*\*(.*?)\*\*", PAGE, flags=re.M | re.S))
    assert set(re.findall(r"`([^`]+)`", openings)) == set(METHODS)
    paragraphs = re.findall(r"^\*\*`.*?(?=^\*\*`|^## )", PAGE, flags=re.M | re.S)
    assert all("```text" in paragraph for paragraph in paragraphs)


@pytest.mark.parametrize("name", METHODS)
def test_at_a_glance(name: str) -> None:
    row, line = METHODS[name], GLANCE[name]
    assert line["when"] == row.level
    assert line["constants"] == _pairs(row.constants)
    assert ("steering part" in line["statistics from"]) == row.steers
    assert ("average" in line["moves"]) == row.gated


def test_the_references_are_the_rows() -> None:
    """Authors, and where and when it appeared: as `faal methods NAME` has them."""
    text = " ".join(PAGE.split())
    for row in METHODS.values():
        for reference in re.split(r"; |, on ", row.reference.removeprefix("-")):
            for part in reference.split(", "):
                assert part in text, reference


def schedules() -> dict[str, float]:
    """The fractions of the table, as recipes and rules have them; learning rates are found by their place."""
    scratch, hundred = load_recipe("cifar10-prn18-faal-at"), load_recipe("cifar100-rn18-faal-at")
    assert scratch.average_from == scratch.tau.starts[1]
    rate = METHODS["frl-rw"].constants["rate"]
    return {
        "CFA: margins and regularisation begin": METHODS["cfa-at"].constants["start"],
        "DAFA: the weights act": METHODS["dafa"].constants["start"],
        "FAAL: tau 0.25, and the average, begin": scratch.tau.starts[scratch.tau.values.index(0.25)],
        "FAAL: tau 0.5 begins": scratch.tau.starts[scratch.tau.values.index(0.5)],
        "FRL: the multipliers' rate halves": rate.starts[rate.values.index(rate.values[0] / 2)],
        "FRL fine-tune: the learning rate falls": load_recipe("cifar10-prn18-frl-rwrm-repair").lr.starts[1],
        "FAAL fine-tune: the learning rate falls": load_recipe("cifar10-prn18-faal-at-repair").lr.starts[1],
        "TRADES-AWP: the warm-up is over": load_recipe("cifar10-prn18-trades-awp").awp_gamma.starts[1],
        "CIFAR-10: the learning rate falls": scratch.lr.starts[1],
        "CIFAR-10: it falls again": scratch.lr.starts[2],
        "CIFAR-100: the learning rate falls": hundred.lr.starts[1],
        "CIFAR-100: it falls again": hundred.lr.starts[2],
        "CFA's gate: the first evaluated epoch": load_recipe("cifar10-prn18-cfa-at").averaging_starts,
    }


def test_schedules() -> None:
    rows, fractions = table("Schedules"), schedules()
    assert [row["what"] for row in rows] == list(fractions)
    for row in rows:
        assert number(row["fraction"]) == fractions[row["what"]]
        assert {n: int(row[str(n)]) for n in (200, 110, 30, 6)} == {
            n: epoch_of(fractions[row["what"]], n) for n in (200, 110, 30, 6)
        }
        if fraction := re.match(r"(\d+) of (\d+)", row["in the paper"]):
            assert int(fraction[1]) / int(fraction[2]) == pytest.approx(fractions[row["what"]])


def test_the_decays_of_averages() -> None:
    recipe = load_recipe("cifar10-prn18-cfa-at")
    decays = [recipe.replace({"epochs": n}, source="test").averaging_decay(390) for n in (200, 110, 30, 6)]
    assert decays == pytest.approx([0.88, 0.78, 0.2, 0], abs=0.005)
    text = "0.88 in 200 epochs, as CFA has it, and of 0.78 in 110, 0.2 in 30; in 6 it is the last epoch"
    assert text in " ".join(PAGE.split())


def test_published_settings() -> None:
    """The table is `Method.published`, whole, and its defaults are the recipe's and the rules'."""
    listed: dict[str, dict[str, str]] = {name: {} for name in METHODS}
    for row in table("As published"):
        setting = row["setting"].strip("`")
        for name in named(row["methods"]):
            listed[name][setting] = row["published"]
            constant = setting.removeprefix("constants: ")
            default = getattr(Recipe(), setting, None) if constant == setting else METHODS[name].constants[constant]
            assert row["default"] == ("none" if default is None else _option_text(default))
    assert listed == {name: flat(row.published) for name, row in METHODS.items()}


def flat(published: dict[str, object]) -> dict[str, str]:
    constants = published.get("constants", {})
    assert isinstance(constants, dict)
    plain = {name: value for name, value in published.items() if name != "constants"}
    found = plain | {f"constants: {name}": value for name, value in constants.items()}
    return {name: _option_text(value) for name, value in found.items()}


def test_the_balls() -> None:
    rows = table("The balls")
    assert [row["ball"].strip("`") for row in rows] == list(BALLS)
    for row in rows[1:]:
        (name,) = named(row["methods"])
        assert METHODS[name].fixed["ball"] == row["ball"].strip("`")


@pytest.mark.parametrize("page", ["methods.md", "adding_a_method.md"])
def test_links(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, flags=re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target[1:] in headings if target.startswith("#") else (DOCS / target).exists(), target
