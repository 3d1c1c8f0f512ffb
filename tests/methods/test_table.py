"""The table of methods: its rows, and that FAAL changes nothing of its base but the class rule."""

import dataclasses

import pytest
import torch

from faal.config import Recipe, Schedule
from faal.errors import InputError
from faal.intermediate.class_stats import Need
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.uniform import Uniform
from faal.methods import METHODS, Adversary, method
from faal.outer.objectives import (
    ADVERSARIAL_TRAINING,
    CONFUSIONAL,
    FRIENDLY,
    MART,
    NOTHING,
    STANDARD,
    TRADES,
    Objective,
)

CE_UNIFORM = Adversary(loss="ce", start="uniform")
CE_GAUSSIAN = Adversary(loss="ce", start="gaussian")
KL_GAUSSIAN = Adversary(loss="kl", start="gaussian")

PUBLISHED = {
    "standard": (None, STANDARD, False),
    "pgd-at": (CE_UNIFORM, ADVERSARIAL_TRAINING, False),
    "trades": (KL_GAUSSIAN, TRADES, False),
    "mart": (CE_GAUSSIAN, MART, False),
    "at-awp": (CE_UNIFORM, ADVERSARIAL_TRAINING, True),
    "trades-awp": (KL_GAUSSIAN, TRADES, True),
}
FAAL_ON = {
    "faal-at": "pgd-at",
    "faal-trades": "trades",
    "faal-mart": "mart",
    "faal-at-awp": "at-awp",
    "faal-trades-awp": "trades-awp",
}
COUNTS = torch.tensor([40, 10])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_bases_are_as_published(name: str) -> None:
    adversary, objective, awp = PUBLISHED[name]
    row = METHODS[name]
    assert (row.adversary, row.objective, row.awp) == (adversary, objective, awp)
    assert isinstance(row.make_rule(Recipe(), COUNTS), Uniform)


@pytest.mark.parametrize("name", FAAL_ON)
def test_faal_changes_the_rule_alone(name: str) -> None:
    row, base = METHODS[name], METHODS[FAAL_ON[name]]
    same = {"adversary", "objective", "awp", "rule", "fixed", "gated"}
    assert all(getattr(row, field) == getattr(base, field) for field in same)
    described = {"summary", "reference", "published", "plain", "adversary_free"}
    assert {f.name for f in dataclasses.fields(row)} - same - described == {"faal"}
    assert (row.faal, row.plain) == (True, FAAL_ON[name])


@pytest.mark.parametrize("name", FAAL_ON)
def test_the_rule_is_made_from_the_recipe_and_the_counts(name: str) -> None:
    tau = Schedule((0.0, 0.5), (0.0, 0.25))
    rule = METHODS[name].make_rule(Recipe(tau=tau, smoothing=0.9, statistic="cross-entropy"), COUNTS)
    assert isinstance(rule, FAAL)
    assert (rule.num_classes, rule.schedule, rule.tau, rule.smoothing) == (2, tau, 0.0, 0.9)
    assert rule.needs == {Need.CROSS_ENTROPY}
    assert torch.equal(rule.sizes, torch.tensor([1.0, 0.25], dtype=torch.float64))


def test_no_two_rules_share_a_state() -> None:
    make = METHODS["faal-at"].make_rule
    recipe = Recipe(smoothing=0.5)
    assert make(recipe, COUNTS) is not make(recipe, COUNTS)


@pytest.mark.parametrize("name", METHODS)
def test_every_row_says_what_it_is(name: str) -> None:
    row = METHODS[name]
    assert row.summary
    assert "\n" not in row.summary + row.reference
    objectives: list[Objective] = [STANDARD, ADVERSARIAL_TRAINING, TRADES, MART, FRIENDLY, CONFUSIONAL, NOTHING]
    assert row.objective in objectives
    assert row.level in ("fixed", "epoch", "batch")
    assert (row.adversary is None) is not row.objective.adversarial
    assert row.trains is (name != "offsets")
    assert method(name) is row


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"'faal-tradse'.*'faal-trades'.*`faal methods`"):
        method("faal-tradse")
