"""Fixed choices: a type each, tables with an entry for every name of it, and settings that accept these names alone."""

import dataclasses
import re
from collections.abc import Collection
from typing import Any, get_args

import pytest

from faal.audit.attacks import autoattack, backend
from faal.audit.misuse import settings as misuse
from faal.config import Recipe, Threat
from faal.config import choices as names
from faal.config.recipe import CHOICES
from faal.config.threat import MAX_EPSILON
from faal.errors import InputError
from faal.inner import norms, pgd
from faal.intermediate import kldro
from faal.intermediate.class_stats import Need
from faal.methods import METHODS
from faal.study.reproduce import scales
from faal.train import selection


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (MAX_EPSILON, names.NormName),
        (norms.NORMS, names.NormName),
        (autoattack.NORMS, names.NormName),
        (misuse.TINY_EPSILON, names.NormName),
        (pgd.LOSSES, names.LossName),
        (pgd.STARTS, names.StartName),
        (selection.RULES, names.ScoreRule),
        (kldro.BALLS, kldro.BallName),
        (scales.SCALES, scales.ScaleName),
        (scales.PROTOCOLS, scales.ProtocolName),
    ],
)
def test_a_table_has_an_entry_for_every_name(table: Collection[str], kind: Any) -> None:
    assert sorted(table) == sorted(get_args(kind))


def test_the_statistics_are_those_of_the_class_rules() -> None:
    assert set(get_args(names.StatisticName)) < set(Need)


def test_the_recipe_reads_its_choices_from_its_types() -> None:
    assert CHOICES["attack_loss"] == ("own", "ce", "kl", "cw", "alternate")
    assert CHOICES["select"] == ("sum", "average", "worst", "last")
    assert "method" not in CHOICES  # methods and networks are open tables
    assert "model" not in CHOICES
    for name, allowed in CHOICES.items():
        assert getattr(Recipe(), name) in allowed


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHOICES.items() for value in values])
def test_a_choice_is_accepted_and_named_in_the_help(name: str, value: str) -> None:
    assert getattr(Recipe().replace({name: value}, source="test"), name) == value
    text = next(item.metadata["help"] for item in dataclasses.fields(Recipe) if item.name == name)
    assert re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["other", "", None, 3, ["own"], "SUM"])
def test_another_value_is_refused_with_the_choices(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"^mine\.yaml: {name} is one of {', '.join(CHOICES[name])}, not "):
        Recipe().replace({name: value}, source="mine.yaml")


@pytest.mark.parametrize("name", METHODS)
def test_published_settings_are_choices(name: str) -> None:
    for setting, value in METHODS[name].published.items():
        assert setting not in CHOICES or value in CHOICES[setting]


def test_names_from_a_caller_are_checked() -> None:
    assert backend.engine_named("fast") == "fast"
    with pytest.raises(InputError, match=r"no audit engine 'fats'; did you mean 'fast'\?"):
        backend.engine_named("fats")
    with pytest.raises(InputError, match=r"no norm 'l1'"):
        Threat("l1")  # type: ignore[arg-type]
