"""Notes on a finished run, for the interpretation of its results."""

from collections.abc import Iterable, Mapping
from typing import Any

from faal.config import Recipe, epoch_of
from faal.intermediate.class_rule import ClassRule
from faal.intermediate.rules.uniform import Uniform
from faal.methods import method
from faal.outer.averaging import WeightAverage

TRAINED_ON = {
    "select": "The initial network of this run may have been trained on the withheld images: the accuracies on "
    "them are too high",
    "steer": "The initial network of this run may have been trained on the images that the method evaluates on "
    "during training: the accuracies on them are higher than on new ones",
}
"""The note on a fine-tune, by the withheld part that its base may have been trained on."""


VECTORS = {
    "weights": "class weights",
    "clean_weights": "clean term's weights",
    "sampling": "class probabilities",
    "epsilon_factors": "epsilon times",
    "step_factors": "step times",
    "penalty": "penalty times",
}
"""The class-wise vectors of a record of the log, and their names in text."""


def vectors_text(record: Mapping[str, Any]) -> str:
    """Smallest and largest value of each class-wise vector, as `, epsilon times 0.8 to 1.2`; empty where all classes
    are equal. Classes of weight 0, which are absent, are omitted.

    Args:
        record: of a batch or an epoch.
    """
    text = ""
    for name, title in VECTORS.items():
        values = [value for value in record.get(name) or () if value != 0]
        low, high = (f"{end(values, default=1):.3g}" for end in (min, max))
        if low != high or (name.endswith("factors") and low != "1"):
            text += f", {title} {low} to {high}"
    return text


def notes_of(recipe: Recipe, rule: ClassRule, average: WeightAverage, trained_on: Iterable[str]) -> list[str]:
    """Sentences, without the full stop.

    Args:
        recipe: the run's.
        rule: its class rule.
        average: the average of its weights.
        trained_on: the withheld parts that the initial network may have been trained on.
    """
    notes = [TRAINED_ON[part] for part in trained_on]
    row = method(recipe.method)
    if not row.trains:
        return notes
    if not isinstance(rule, Uniform) and not rule.is_active(recipe.epochs):
        plain = f": the network is that of {row.plain}" if row.plain else ""
        notes.append(f"The class weights of {recipe.method} are used in no epoch of a run of {recipe.epochs}{plain}")
    if row.awp and not any(recipe.awp_gamma.at(epoch / recipe.epochs) for epoch in range(recipe.epochs)):
        notes.append(f"AWP is not used in any epoch of a run of {recipe.epochs}: its size is always 0")
    if recipe.average != "none" and not average.updates:
        active = epoch_of(recipe.averaging_starts, recipe.epochs) < recipe.epochs
        reason = "No epoch passed the gate of the weight average" if active else "The weight average never began"
        notes.append(f"{reason}: the network is the plain one")
    return notes
