"""The methods: a table of rows, and access by name."""

from torch import Tensor

from faal.config import Recipe, epoch_of
from faal.errors import unknown
from faal.methods.row import Adversary, Method
from faal.methods.table import METHODS

__all__ = [
    "METHODS",
    "Adversary",
    "Method",
    "epochs_of_training",
    "first_epoch",
    "method",
    "searches_offsets",
    "steers",
]


def method(name: str) -> Method:
    """The row named `name`. Raises InputError, with the nearest name, if there is none."""
    if name not in METHODS:
        raise unknown("method", name, METHODS, see="`faal methods`")
    return METHODS[name]


def first_epoch(recipe: Recipe, counts: Tensor) -> int:
    """The first epoch of a run in which its method differs from the `plain` one, or records statistics for it.

    Args:
        recipe: the run's.
        counts: (C,) images of each class in its training set.
    """
    first = method(recipe.method).make_rule(recipe, counts).first_epoch(recipe.epochs)
    if recipe.average == "none":
        return first
    return min(first, epoch_of(recipe.averaging_starts, recipe.epochs))


def steers(recipe: Recipe) -> bool:
    """Whether a run evaluates on withheld images during training: for its rule, or for the gate of its average."""
    return method(recipe.method).rule.steers or recipe.average == "gated"


def searches_offsets(recipe: Recipe) -> bool:
    """Whether a run ends with the search for offsets: by its setting, or because its method is that search."""
    return recipe.offsets or not method(recipe.method).trains


def epochs_of_training(recipe: Recipe) -> int:
    """The epochs of a run: the recipe's, or 0 for a method without training."""
    return recipe.epochs if method(recipe.method).trains else 0
