"""The class rule: it sets the vectors over the classes, budgets before phase 1 and weights in phase 2."""

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
    """The loss that the attack maximises: `ce`, `kl` or `cw`."""
    start: StartName = "uniform"
    """The start of the attack."""
    steps: int = 20
    """The number of steps, of epsilon / 4 each."""
    shrink: float = 0.0
    """The fraction of the true class's logit that is subtracted before the prediction (CSR's margin)."""


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """The information for a rule before every epoch."""

    epoch: int
    """The next epoch, from 0."""
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
    """(C, C) weights of the penalty, by predicted and true class; None means 1 for all."""

    def reduce(
        self,
        clean: Tensor | None,
        robust: Tensor | None,
        classes: Tensor,
        *,
        penalty: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> Tensor:
        """The weighted mean over the batch (Algorithm 1, line 14): losses are weighted and reduced only here.

        Args:
            clean: (B,) clean terms, or None where the objective has none.
            robust: (B,) robust terms, or None.
            classes: (B,) int64, each sample's class (or group).
            penalty: (B,) penalties, or None.
            predicted: (B,) int64, the predictions on the adversarial images, by which the penalty is weighted.

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
    """The base class of all class rules, with equal weights and budgets for all classes.

    A run calls `evaluation` and `begin_epoch` before every epoch, `sampling` and `budget` before every batch's attack,
    `weigh` after it, `epoch_factors` after the epoch.

    A rule's constants are the keyword arguments of its constructor. Those with the name of a recipe's setting
    (`beta`, `tau`) are read from it, the others from the recipe's `constants`.

    Args:
        counts: (C,) images of each class in the training set.
    """

    level: Level = "fixed"
    steers = False
    """Whether it evaluates on the withheld steering part."""
    needs: frozenset[Need] = frozenset()
    """The statistics that it needs of every batch. It may change from epoch to epoch."""
    any_groups = False
    """Whether it can weight any groups of samples, not only classes."""
    STATE: tuple[str, ...] = ()
    """The attributes that change in a run, tensors and plain numbers: the keys of its state dict."""

    def __init__(self, counts: Tensor) -> None:
        pass  # no docstring: rules with other arguments would inherit it

    @classmethod
    def from_recipe(cls, recipe: Recipe, counts: Tensor, **fixed: Any) -> Self:
        """The rule of a recipe, for a training set with `counts` (C,) images of each class."""
        return cls(counts, **fixed, **settings_of(cls, recipe, fixed))

    @property
    def sampling(self) -> Callable[[], Tensor] | None:
        """For a rule that samples classes: () -> (C,), the class probabilities of the next batch; else None."""
        return None

    def first_epoch(self, epochs: int) -> int:
        """The first epoch of a run in which it has an effect or records statistics; `epochs` if there is none."""
        return 0

    def is_active(self, epochs: int) -> bool:
        """Whether it has an effect in a run of that many epochs."""
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
        """For the log: name -> (C,), the factors of the current epoch; 1 has no effect."""
        budget = self.budget()
        factors = {"epsilon_factors": budget.epsilon, "step_factors": budget.step_size}
        return {name: vector for name, vector in factors.items() if vector is not None}

    def weigh(self, batch: BatchStats) -> TermWeights:
        """The weights of this batch's classes, on the batch's device, without host synchronisation."""
        ones = torch.ones_like(batch.counts)
        return TermWeights(clean=ones, robust=ones)

    def state_dict(self) -> dict[str, Any]:
        """The state for a resumed run, as tensors and plain numbers."""
        return {name: getattr(self, name) for name in self.STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`, on the device of the rule."""
        for name in self.STATE:
            old, new = getattr(self, name), state[name]
            setattr(self, name, new.to(old.device) if isinstance(old, Tensor) else new)

    def to(self, device: torch.device) -> Self:
        """This rule with its vectors on the device, which avoids a copy in every step."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self


def recipe_settings() -> set[str]:
    """The settings of a recipe that a rule may read, as arguments of the same name."""
    return {item.name for item in fields(Recipe)} - {"limit"}  # the number of images; FRL's `limit` is another


def constants_of(rule: type[ClassRule]) -> dict[str, Any]:
    """A rule's constants and their defaults, which a recipe's `constants` may set."""
    parameters = inspect.signature(rule).parameters.values()
    shared = recipe_settings()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in shared}


def settings_of(rule: type[ClassRule], recipe: Recipe, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a rule, from a recipe.

    Raises:
        InputError: `constants` has a name that the rule lacks (the message contains the nearest), or a value that
            cannot be parsed.
    """
    defaults = {name: default for name, default in constants_of(rule).items() if name not in fixed}
    shared = set(inspect.signature(rule).parameters) & recipe_settings() - set(fixed)
    settings: dict[str, Any] = {name: getattr(recipe, name) for name in shared}
    for name, value in recipe.constants.items():
        if name not in defaults:
            raise unknown(f"constant of {recipe.method}", name, defaults, see=f"`faal methods {recipe.method}`")
        try:
            settings[name] = _converted(defaults[name], value)
        except (ValueError, ZeroDivisionError):
            expected = TYPE_NAMES[type(defaults[name])]
            raise InputError(f"the constant {name} of {recipe.method} is {expected}, not {value!r}") from None
    return settings


TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Schedule: "a number or a schedule such as 0:0.05,1/2:0.025",
}


def _converted(default: Any, value: Any) -> Any:
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
