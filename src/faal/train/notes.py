"""What a reader of a finished run has to know of how it went."""

from collections.abc import Iterable

from faal.config import Recipe, epoch_of
from faal.intermediate.class_rule import ClassRule
from faal.intermediate.rules.uniform import Uniform
from faal.methods import method
from faal.outer.averaging import WeightAverage

SEEN = {
    "select": "The network that this run began from may have seen the withheld images: the figures for them are too "
    "good",
    "steer": "The network that this run began from may have seen the images that the method steers by: to it they are "
    "easier than new ones",
}
"""What a reader has to know of a fine-tune, by the withheld part that its base may have been trained on."""


def notes_of(recipe: Recipe, rule: ClassRule, average: WeightAverage, seen: Iterable[str]) -> list[str]:
    """Sentences, without the full stop.

    Args:
        recipe: the run's.
        rule: its class rule.
        average: its weights' average.
        seen: the withheld parts that the network at its start may have been trained on.
    """
    notes = [SEEN[part] for part in seen]
    row = method(recipe.method)
    if not row.trains:
        return notes
    if not isinstance(rule, Uniform) and not rule.acts(recipe.epochs):
        plain = f": the network is that of {row.plain}" if row.plain else ""
        notes.append(f"The class weights of {recipe.method} act in no epoch of a run of {recipe.epochs}{plain}")
    if row.awp and not any(recipe.awp_gamma.at(epoch / recipe.epochs) for epoch in range(recipe.epochs)):
        notes.append(f"AWP acts in no epoch of a run of {recipe.epochs}: its size is 0 throughout")
    if recipe.average != "none" and not average.updates:
        began = epoch_of(recipe.averaging_starts, recipe.epochs) < recipe.epochs
        why = "No epoch passed the gate of the weight average" if began else "The weight average never began"
        notes.append(f"{why}: the network is the plain one")
    return notes
