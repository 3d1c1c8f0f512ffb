"""A row of the table of methods."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from faal.config import Recipe
from faal.config.choices import LossName, StartName
from faal.intermediate.class_rule import ClassRule, Level, constants_of
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.product import Product
from faal.intermediate.rules.uniform import Uniform
from faal.outer.objectives import NOTHING, Objective


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """The attack of phase 1; its norm and epsilon are the threat model's."""

    loss: LossName
    """The loss that it maximises: `ce`, `kl` or `cw`."""
    start: StartName
    """The start: `uniform`, `gaussian` or `zero`."""
    friendly: bool = False
    """Whether it stops just beyond the decision boundary, and the point before it is also trained on (BAT)."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the table."""

    summary: str
    """One line for `faal methods`."""
    reference: str
    """The publication."""
    adversary: Adversary | None
    """Phase 1; None trains on clean images only."""
    objective: Objective
    """Phase 3."""
    rule: type[ClassRule] = Uniform
    """Phase 2."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """The rule's constants that this row fixes."""
    faal: bool = False
    """Whether FAAL's weights multiply the rule's."""
    awp: bool = False
    """Whether phases 2 and 3 use adversarially perturbed weights (AWP)."""
    gated: bool = False
    """Whether only fair epochs are averaged: its recipes from scratch set `average: gated`."""
    plain: str | None = None
    """The method to which it is identical until its rule is active."""
    adversary_free: bool = True
    """Whether it was proposed for any adversary (the paper's Table 4), not only for TRADES'."""
    published: dict[str, Any] = field(default_factory=dict)
    """The settings of a recipe in which its authors' code differs from the common protocol."""

    def make_rule(self, recipe: Recipe, counts: Tensor) -> ClassRule:
        """The rule for a training set with `counts` (C,) images of each class.

        Raises:
            InputError: the recipe's `constants` do not fit the rule.
        """
        if not self.faal:
            return self.rule.from_recipe(recipe, counts, **self.fixed)
        if self.rule is Uniform:
            return FAAL.from_recipe(recipe, counts, **self.fixed)
        base_rule = self.rule.from_recipe(recipe, counts, **self.fixed)
        return Product(base_rule, FAAL.from_recipe(replace(recipe, constants={}), counts))

    @property
    def trains(self) -> bool:
        """Whether it trains; a method that does not is a repair of a trained network without training."""
        return self.objective is not NOTHING

    @property
    def level(self) -> Level:
        """How often the class weights change."""
        return FAAL.level if self.faal else self.rule.level

    @property
    def steers(self) -> bool:
        """Whether it evaluates on withheld images during training (the paper's Table 4: a validation set)."""
        return self.rule.steers or self.gated

    @property
    def constants(self) -> dict[str, Any]:
        """The constants that a recipe may set, and their defaults."""
        rule = FAAL if self.faal and self.rule is Uniform else self.rule
        return {name: default for name, default in constants_of(rule).items() if name not in self.fixed}
