"""Settings of training: recipes, schedules, threats, and the recipe files."""

from faal.config.recipe import Recipe
from faal.config.schedule import Schedule, boolean, epoch_of, number
from faal.config.shipped import load_recipe, recipe_names, repair_recipe
from faal.config.threat import Threat, parse_epsilon
from faal.epsilon import epsilon_text

__all__ = [
    "Recipe",
    "Schedule",
    "Threat",
    "boolean",
    "epoch_of",
    "epsilon_text",
    "load_recipe",
    "number",
    "parse_epsilon",
    "recipe_names",
    "repair_recipe",
]
