"""Every row's recipe at every scale and under both protocols."""

import pytest

from faal.config import load_recipe
from faal.errors import InputError
from faal.methods import METHODS
from faal.study.reproduce.scales import (
    PROTOCOLS,
    SCALES,
    attacks_of,
    protocol_named,
    recipe_of,
    required_data,
    scale_named,
    setting_of,
)
from faal.study.reproduce.tables import TABLE1, TABLE2, TABLE3, TABLES


@pytest.mark.medium
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_row_has_a_recipe(table, scale, protocol: str) -> None:
    for row in table.rows:
        recipe = recipe_of(table, row, scale, protocol)
        assert recipe.method == row.method
        assert {**recipe.constants, **row.settings.get("constants", {})} == recipe.constants
        if protocol == "honest":
            assert recipe.hold_out == "both"
        else:
            quirks = {name: value for name, value in METHODS[row.method].published.items() if name != "constants"}
            assert {name: getattr(recipe, name) for name in quirks} == quirks


@pytest.mark.parametrize("table", [TABLE1, TABLE2, TABLE3], ids=lambda table: table.name)
def test_the_paper_scale_is_the_shipped_recipe(table) -> None:
    for row in table.rows:
        shipped = load_recipe(f"{table.data}-{table.model}-{row.method}{'-repair' if row.start else ''}")
        recipe = recipe_of(table, row, SCALES["paper"], "honest")
        settings = {
            "hold_out": "both",
            "constants": recipe.constants,
            "offsets": "-offsets" in row.name.partition("--")[2],
        }
        assert recipe == shipped.replace(settings, source="test")
        assert recipe.epochs == (80 if "frl" in row.method else 2) if row.start else recipe.epochs >= 100


def test_the_small_scale() -> None:
    small = SCALES["small"]
    assert setting_of(TABLE1, small) == setting_of(TABLE2, small) == "cifar10-prn18"
    assert setting_of(TABLE3, small) == "cifar100-rn18"
    assert attacks_of(TABLE2, small) == ("clean", "pgd20", "cw20")
    assert attacks_of(TABLE2, SCALES["paper"]) == ("clean", "autoattack")
    scratch = recipe_of(TABLE2, TABLE2.row("faal-at"), small, "honest")
    assert (scratch.width, scratch.epochs, scratch.steps, scratch.precision) == (16, 6, 5, "auto")
    tuned = recipe_of(TABLE1, TABLE1.row("pgd-at--faal-at"), small, "honest")
    assert (tuned.epochs, tuned.steps) == (2, 5)
    assert recipe_of(TABLE1, TABLE1.row("mart--frl-rwrm-0.07"), small, "honest").epochs == 6


def test_constants_of_several_sources_are_joined() -> None:
    """The row's tolerance does not replace what the published protocol sets, nor the other way round."""
    row = TABLE2.row("cfa-trades")
    published = recipe_of(TABLE2, row, SCALES["paper"], "published")
    shipped = load_recipe("cifar10-prn18-cfa-trades")
    assert published.constants == {**shipped.constants, **METHODS["cfa-trades"].published["constants"]}


def test_the_data_that_a_table_requires() -> None:
    assert required_data(TABLE2, SCALES["tiny"], None) == "digits"
    assert required_data(TABLE3, SCALES["tiny"], "digits") == "digits"
    assert required_data(TABLE2, SCALES["small"], "cifar10:x") == "cifar10:x"
    with pytest.raises(InputError, match="add --data cifar100:DIR"):
        required_data(TABLE3, SCALES["paper"], None)
    with pytest.raises(InputError, match="on cifar10, not on 'cifar100:x'"):
        required_data(TABLE2, SCALES["small"], "cifar100:x")


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="did you mean 'small'"):
        scale_named("smal")
    with pytest.raises(InputError, match="did you mean 'honest'"):
        protocol_named("honets")
