"""What decides how a network is trained: recipes, schedules, the files that hold them."""

from faal.config.recipe import Recipe
from faal.config.schedule import Schedule, check_epsilon, epoch_of, number, parse_epsilon, truth
from faal.config.shipped import load_recipe, recipe_names

__all__ = [
    "Recipe",
    "Schedule",
    "check_epsilon",
    "epoch_of",
    "load_recipe",
    "number",
    "parse_epsilon",
    "recipe_names",
    "truth",
]
