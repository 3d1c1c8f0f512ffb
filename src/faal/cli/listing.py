"""`faal methods` and `faal recipes`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from faal.config import Schedule

if TYPE_CHECKING:  # the help does not import PyTorch
    from faal.methods import Method


def methods(name: Annotated[str | None, Parameter(help="Show the details of this method.")] = None, /) -> None:
    """List the methods, one row each, or show one with its constants and the recipes that use it.

    The list states how often the class weights are updated, and whether the method evaluates on withheld images
    during training.

        faal methods
        faal methods cfa-trades
    """
    from faal.methods import METHODS, method

    console = Console(highlight=False, markup=False)
    if name is not None:
        row = method(name)
        console.print(name, style="bold")
        console.print(row.summary, end="\n\n")
        details = Table.grid(padding=(0, 2))
        for key, text in _details(name, row):
            details.add_row(key, text)
        console.print(details)
        return
    table = Table("method", "weights", "hold-out", "what it does", box=None, pad_edge=False)
    for each, row in METHODS.items():
        table.add_row(each, row.level, "yes" if row.steers else "", _short_summary(row))
    console.print(table)
    console.print("\n`faal methods NAME` shows one method in detail.")


def _details(name: str, row: Method) -> Iterator[tuple[str, str]]:
    """The details of a method, in the order in which they are printed."""
    from faal.config import load_recipe, recipe_names

    yield "reference", row.reference
    if row.plain is not None:
        yield "built on", row.plain
    yield "adversary", _adversary(row)
    yield "objective", _objective(row)
    yield "weights", "fixed" if row.level == "fixed" else f"updated every {row.level}"
    yield "requires", "\n".join(_evaluations(name, row)) or "nothing"
    yield "constants", _pairs(row.constants) or "none"
    if row.fixed:
        yield "fixed", _pairs(row.fixed)
    yield "settings", ", ".join(_settings(row)) or "none of its own"
    yield "published", _options(row.published) or "as the common protocol"
    yield "recipes", "\n".join(each for each in recipe_names() if load_recipe(each).method == name) or "none"


def _short_summary(row: Method) -> str:
    """The summary; for FAAL's weights on another method, the name of that method."""
    from faal.methods import METHODS

    def components(other: Method) -> tuple[object, ...]:
        return other.adversary, other.objective, other.rule, other.fixed, other.awp

    bases = [name for name, other in METHODS.items() if not other.faal and components(other) == components(row)]
    return f"FAAL's weights on {bases[0]}" if row.faal and bases else row.summary


def _adversary(row: Method) -> str:
    if row.adversary is None:
        return "none"
    stops = "; stops just beyond the decision boundary" if row.adversary.friendly else ""
    return f"maximises {row.adversary.loss} from a {row.adversary.start} start{stops}"


def _objective(row: Method) -> str:
    return row.objective.name + (", at adversarially perturbed weights" if row.awp else "")


def _evaluations(name: str, row: Method) -> Iterator[str]:
    """The evaluations and batch statistics that a method requires, in the first epoch in which its rule is active."""
    import torch

    from faal.config import Recipe
    from faal.intermediate.class_rule import EpochStats, EvaluationRequest

    def described(request: EvaluationRequest) -> str:
        images = "withheld images" if request.part == "steer" else "the training images"
        return f"PGD-{request.steps} on {request.loss}, {images}"

    recipe = Recipe(method=name)
    rule = row.make_rule(recipe, torch.ones(2))
    epoch = max(1, rule.first_epoch(recipe.epochs))
    request = rule.evaluation(epoch)
    if request is None:
        rule.begin_epoch(EpochStats(epoch=epoch, epochs=recipe.epochs))
    else:
        yield f"before an epoch: {described(request)}"
    if rule.needs:
        yield f"batches: {', '.join(sorted(rule.needs))}"
    if row.gated:
        from faal.train.evaluate import GATE

        yield f"after an epoch, to decide whether it joins the weight average: {described(GATE)}"


def _settings(row: Method) -> list[str]:
    """The settings of a recipe that this method uses and not all methods do."""
    from faal.config import Recipe
    from faal.intermediate.class_rule import recipe_settings
    from faal.intermediate.rules.faal import FAAL

    read = set(inspect.signature(row.rule).parameters) - set(row.fixed)
    read |= set(inspect.signature(FAAL).parameters) if row.faal else set()
    read |= {"beta"} if row.objective.clean and row.objective.adversarial else set()  # every loss of two views
    read |= {"awp_gamma"} if row.awp else set()
    return [item.name for item in dataclasses.fields(Recipe) if item.name in read & recipe_settings()]


def _options(settings: Mapping[str, Any]) -> str:
    """Settings of a recipe as options of the command line."""
    options = {
        name: f"'{_pairs(value)}'" if isinstance(value, Mapping) else _option_text(value)
        for name, value in settings.items()
    }
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())


def _pairs(constants: Mapping[str, Any]) -> str:
    """Constants as the value of `--constants`."""
    return " ".join(f"{name}={_option_text(value)}" for name, value in constants.items())


def _option_text(value: Any) -> str:
    """A value as an option accepts it; a float such as 1/3 as a fraction."""
    if isinstance(value, Schedule):
        value = value.plain()
        return ",".join(f"{s}:{v}" for s, v in value.items()) if isinstance(value, Mapping) else _option_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and len(repr(value)) > 8:
        fraction = Fraction(value).limit_denominator(1000)
        return str(fraction) if float(fraction) == value else repr(value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def recipes(
    name: Annotated[str | None, Parameter(help="Show all settings of this recipe.")] = None,
    /,
    *,
    settings: Annotated[bool, Parameter(help="List every setting of a recipe with its meaning.", negative=())] = False,
) -> None:
    """List the shipped recipes, or show one."""
    import yaml

    from faal.config import Recipe, load_recipe, recipe_names

    console = Console()
    if settings:
        table = Table("setting", "meaning", box=None)
        for item in dataclasses.fields(Recipe):
            table.add_row(item.name, item.metadata["help"])
        console.print(table)
    elif name is not None:
        console.print(yaml.safe_dump(load_recipe(name).plain(), sort_keys=False), markup=False, highlight=False, end="")
    else:
        for shipped in recipe_names():
            console.print(shipped, markup=False, highlight=False)
