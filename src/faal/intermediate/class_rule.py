"""The class rule: what sets the vectors over the classes, budgets before phase 1 and weights in phase 2."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import torch
from torch import Tensor

from faal.config import Recipe, Schedule, boolean, number
from faal.config.choices import LossName, StartName
from faal.errors import InputError, unknown
from faal.intermediate.class_stats import BatchStats, ClassMetrics, Need

Level = Literal["fixed", "epoch", "batch"]
"""How often the vectors of a rule change."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """An evaluation that a rule needs before an epoch: class-wise metrics of the network on fixed images."""

    part: Literal["steer", "train"]
    """The images: the withheld part that methods may evaluate on during training, or the training images."""
    loss: LossName = "ce"
    """What the attack maximises: `ce`, `kl` or `cw`."""
    start: StartName = "uniform"
    """Where it starts."""
    steps: int = 20
    """Its steps, of epsilon / 4 each."""
    shrink: float = 0.0
    """The share of the true class's logit that is subtracted before the prediction is taken (CSR's margin)."""


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """What a rule receives before every epoch, the first too."""

    epoch: int
    """The epoch that begins, from 0."""
    epochs: int
    """The length of the run."""
    metrics: ClassMetrics | None = None
    """The result of the evaluation that the rule requested for this epoch."""

    @property
    def progress(self) -> float:
        """The completed fraction of the run, in [0, 1)."""
        return self.epoch / self.epochs


@dataclass(frozen=True, kw_only=True)
class ClassBudget:
    """Per-class factors on epsilon and step size of phase 1; None is 1 for all classes."""

    epsilon: Tensor | None = None
    """(C,) factors on epsilon."""
    step_size: Tensor | None = None
    """(C,) factors on the step size."""


@dataclass(frozen=True, kw_only=True)
class TermWeights:
    """Weights of the terms of an objective."""

    clean: Tensor
    """(C,) weights of the term on clean images."""
    robust: Tensor
    """(C,) weights of the term on adversarial images."""
    penalty: Tensor | None = None
    """(C, C) weights of the penalty, by predicted and true class; None is 1 throughout."""

    def reduce(
        self,
        clean: Tensor | None,
        robust: Tensor | None,
        classes: Tensor,
        *,
        penalty: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> Tensor:
        """The weighted mean over the batch (Algorithm 1, line 14): the one place where losses are weighted and reduced.

        Args:
            clean: (B,) clean terms, or None where the objective has none.
            robust: (B,) robust terms, or None.
            classes: (B,) int64, each sample's class (or group).
            penalty: (B,) penalties, or None.
            predicted: (B,) int64, the predictions on the adversarial images, which the penalty is weighted by.

        Returns:
            scalar.
        """
        terms = [
            weights.detach()[classes] * term
            for weights, term in ((self.clean, clean), (self.robust, robust))
            if term is not None
        ]
        if penalty is not None:
            terms.append(penalty if self.penalty is None else self.penalty.detach()[predicted, classes] * penalty)
        return sum(terms[1:], start=terms[0]).mean()


class ClassRule:
    """The base of all class rules: it treats all classes equally, and a rule overrides what it changes.

    A run calls `evaluation` and `begin_epoch` before every epoch, `sampling` and `budget` before every batch's attack,
    `weigh` after it, `epoch_factors` after the epoch.

    A rule's constants are the keyword arguments of its constructor. Those that carry the name of a recipe's setting
    (`beta`, `tau`) come from there, the others from the recipe's `constants`.

    Args:
        counts: (C,) images of each class in the training set.
    """

    level: Level = "fixed"
    steers = False
    """Whether it needs the withheld steering part."""
    needs: frozenset[Need] = frozenset()
    """The statistics that it needs of every batch. It may change from epoch to epoch."""
    any_groups = False
    """Whether it can weight any groups of samples, not only classes."""
    STATE: tuple[str, ...] = ()
    """The attributes that change in a run, tensors and plain numbers: the keys of its state dict."""

    def __init__(self, counts: Tensor) -> None:
        pass  # no docstring: rules of other arguments would inherit it

    @classmethod
    def from_recipe(cls, recipe: Recipe, counts: Tensor, **fixed: Any) -> Self:
        """The rule of a recipe, for a training set with `counts` (C,) images of each class."""
        return cls(counts, **fixed, **settings_of(cls, recipe, fixed))

    @property
    def sampling(self) -> Callable[[], Tensor] | None:
        """For a rule that draws the batches: () -> (C,), the probabilities of the next batch's classes; else None."""
        return None

    def first_epoch(self, epochs: int) -> int:
        """The first epoch of a run in which it changes or records anything; `epochs` if there is none."""
        return 0

    def is_active(self, epochs: int) -> bool:
        """Whether it changes anything in a run of that many epochs."""
        return self.first_epoch(epochs) < epochs

    def evaluation(self, epoch: int) -> EvaluationRequest | None:
        """The evaluation that it needs before `epoch`; None for none."""
        return None

    def begin_epoch(self, stats: EpochStats) -> None:
        """Update the rule before an epoch; `stats.metrics` is the evaluation's result."""

    def budget(self) -> ClassBudget:
        """The factors on epsilon and step size for phase 1."""
        return ClassBudget()

    def epoch_factors(self) -> dict[str, Tensor]:
        """For the log: name -> (C,), the factors of the present epoch; 1 changes nothing."""
        budget = self.budget()
        factors = {"epsilon_factors": budget.epsilon, "step_factors": budget.step_size}
        return {name: vector for name, vector in factors.items() if vector is not None}

    def weigh(self, batch: BatchStats) -> TermWeights:
        """The weights of this batch's classes, on the batch's device, without a host synchronisation."""
        ones = torch.ones_like(batch.counts)
        return TermWeights(clean=ones, robust=ones)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain numbers."""
        return {name: getattr(self, name) for name in self.STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`, on the device of the rule."""
        for name in self.STATE:
            old, new = getattr(self, name), state[name]
            setattr(self, name, new.to(old.device) if isinstance(old, Tensor) else new)

    def to(self, device: torch.device) -> Self:
        """This rule with its vectors on the device, so that no step copies them there."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self


def recipe_settings() -> set[str]:
    """The settings of a recipe that a rule may read, by taking an argument of that name."""
    return {item.name for item in fields(Recipe)} - {"limit"}  # of the images; FRL has another `limit`


def constants_of(rule: type[ClassRule]) -> dict[str, Any]:
    """A rule's own constants and their defaults: what `constants` of a recipe may set."""
    parameters = inspect.signature(rule).parameters.values()
    shared = recipe_settings()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in shared}


def settings_of(rule: type[ClassRule], recipe: Recipe, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a rule, from a recipe.

    Raises:
        InputError: `constants` has a name that the rule has not (the message names the nearest), or a value that does
            not parse.
    """
    own = {name: default for name, default in constants_of(rule).items() if name not in fixed}
    shared = set(inspect.signature(rule).parameters) & recipe_settings() - set(fixed)
    settings: dict[str, Any] = {name: getattr(recipe, name) for name in shared}
    for name, value in recipe.constants.items():
        if name not in own:
            raise unknown(f"constant of {recipe.method}", name, own, see=f"`faal methods {recipe.method}`")
        try:
            settings[name] = _in_type_of(own[name], value)
        except (ValueError, ZeroDivisionError):
            expected = TYPE_NAMES[type(own[name])]
            raise InputError(f"the constant {name} of {recipe.method} is {expected}, not {value!r}") from None
    return settings


TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Schedule: "a number or a schedule such as 0:0.05,1/2:0.025",
}


def _in_type_of(default: Any, value: Any) -> Any:
    """A constant in the type of its default."""
    if isinstance(default, Schedule):
        return Schedule.parse(value)
    if isinstance(default, str):
        return str(value)
    if isinstance(default, bool):
        return boolean(value)
    parsed = number(value)
    if type(default)(parsed) != parsed:
        raise ValueError(f"{value} is not of type {type(default).__name__}")
    return type(default)(parsed)
