"""`faal methods` and `faal recipes`: what there is."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table


def methods() -> None:
    """List the methods, one row each."""
    from faal.methods import METHODS

    table = Table("method", "adversary", "weights", "what it does", "reference", box=None)
    for name, row in METHODS.items():
        adversary = f"{row.adversary.loss} from {row.adversary.start}" if row.adversary else "none"
        table.add_row(name, adversary, "AWP" if row.awp else "", row.summary, row.reference)
    Console().print(table)


def recipes(
    name: Annotated[str | None, Parameter(help="Show this recipe whole.")] = None,
    /,
    *,
    settings: Annotated[bool, Parameter(help="List every setting of a recipe with its meaning.", negative=())] = False,
) -> None:
    """List the shipped recipes, or show one."""
    import dataclasses

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
