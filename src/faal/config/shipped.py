"""Load recipes from files: the shipped ones by name, a user's own by path.

A folder of `recipes/` is a setting, DATA-MODEL. Recipes that are the same in all settings, most of them a method's, are
in `recipes/_methods` and belong to every setting: their bases are looked up in the setting's folder first. A file of
the same name in the setting's folder replaces a shared one.
"""

import os
from pathlib import Path
from typing import NamedTuple

from faal.bounds.plain import read_yaml
from faal.config.recipe import Recipe
from faal.errors import InputError, unknown

RECIPES = Path(__file__).parent.parent / "recipes"
SHARED = "_methods"
ENDINGS = (".yaml", ".yml")

REPAIR = "-faal-at-repair"
"""The ending of the recipe for repairs where none is named."""

LIKE_MNIST = ("kmnist", "emnist-")
"""Prefixes of data sets without recipes whose images are like MNIST's: strokes, which must not be flipped."""

MANY_CLASSES = 50
"""From this number of classes on, a batch has few images of a class, and none of some classes."""

MAX_BASES = 20
"""The longest chain of recipes, each the base of the one before it."""


class _Shipped(NamedTuple):
    """A shipped recipe's file, and the folder of its setting."""

    path: Path
    setting: Path


def _shipped() -> dict[str, _Shipped]:
    """Name -> file of the shipped recipes; files whose names begin with `_` are only bases of others."""
    found = {path.stem: _Shipped(path, RECIPES) for path in _recipes_in(RECIPES)}
    for setting in (folder for folder in RECIPES.iterdir() if folder.is_dir() and folder.name != SHARED):
        for path in (*_recipes_in(RECIPES / SHARED), *_recipes_in(setting)):
            found[f"{setting.name}-{path.stem}"] = _Shipped(path, setting)
    return found


def _recipes_in(folder: Path) -> list[Path]:
    return list(folder.glob("[!_]*.yaml"))


def recipe_names() -> list[str]:
    """The names of the shipped recipes, DATA-MODEL-METHOD and DATA-MODEL-METHOD-repair."""
    return sorted(_shipped())


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by its name, or a YAML file by its path.

    `base:` in a file names the recipe whose settings it changes: a file in its folder, or else a shipped recipe. A
    run's config.yaml is a recipe file too.

    Raises:
        InputError: there is no such recipe (names the nearest), its file cannot be read, or has an unknown key.
    """
    path = Path(name)
    if path.suffix not in ENDINGS:
        shipped = _shipped()
        if name not in shipped:
            raise unknown("recipe", name, shipped, see="`faal recipes`")
        return _from_file(*shipped[name], derived=())
    return _from_file(path, path.parent, derived=())


def repair_recipe(data: str, model: str, num_classes: int, ending: str = REPAIR) -> str:
    """The name of the shipped recipe for a repair where none is named.

    It is the recipe of the data and the architecture, else one of the data; MNIST's for data like MNIST's; for a user's
    own data CIFAR-10's, with many classes CIFAR-100's.

    Args:
        data: a data set's name, as recipes begin with.
        model: an architecture's name; a form of one, `prn18:FORM`, is repaired like it.
        num_classes: C.
        ending: the end of the recipe's name; recipes with it exist for every data set and architecture that FAAL
            repairs.
    """
    if data.startswith(LIKE_MNIST) and num_classes < MANY_CLASSES:
        data = "mnist"
    known = [name.removesuffix(ending) for name in recipe_names() if name.endswith(ending)]
    general = "cifar100-rn18" if num_classes >= MANY_CLASSES else "cifar10-prn18"
    same_data = (name for name in known if name.startswith(f"{data}-"))
    likely = [f"{data}-{model.partition(':')[0]}", *same_data, general]
    return next(setting for setting in likely if setting in known) + ending


def _from_file(path: Path, setting: Path, derived: tuple[Path, ...]) -> Recipe:
    """The recipe in a file; its base is looked up in the folder `setting`. `derived` are the files it is a base of."""
    try:
        path = Path(os.path.realpath(path))
    except ValueError:
        raise InputError(f"a recipe's file cannot have the name {str(path)!r}") from None
    if path in derived:
        raise InputError(f"the recipe {path} is its own base; remove one `base:` of {', '.join(map(str, derived))}")
    if len(derived) > MAX_BASES:
        raise InputError(f"the recipe {derived[0]} has more than {MAX_BASES} bases, one after the other; merge some")
    try:
        settings = read_yaml(path)
    except FileNotFoundError:
        raise InputError(f"there is no recipe file {path}; `faal recipes` lists the shipped ones") from None
    if not isinstance(settings, dict):
        found = "a list" if isinstance(settings, list) else "nothing" if settings is None else "a single value"
        raise InputError(f"a recipe consists of `setting: value` lines, but {path} contains {found}")
    if isinstance(settings.get("recipe"), dict):
        settings = settings["recipe"]
    base = settings.pop("base", None)
    start = Recipe() if base is None else _from_file(*_base(str(base), setting), (*derived, path))
    recipe = start.replace(settings, source=str(path.name))
    named = {str(name).replace("-", "_") for name in settings}
    missing = [name for name in ("epsilon", "step_size") if name not in named]
    if recipe.norm != start.norm and missing:
        raise InputError(
            f"{path.name}: norm {recipe.norm} needs its own {' and '.join(missing)}; those of its base are for "
            f"{start.norm}"
        )
    return recipe


def _base(name: str, setting: Path) -> _Shipped:
    """The file that `base: name` means in a recipe whose folder is `setting`, and the folder of its own base."""
    file = name if name.endswith(ENDINGS) else f"{name}.yaml"
    sibling, shared = setting / file, RECIPES / SHARED / file
    if not os.path.exists(sibling):  # false for a name that no file can have
        if setting.resolve().parent == RECIPES.resolve() and shared.exists():
            return _Shipped(shared, setting)
        if name in (shipped := _shipped()):
            return shipped[name]
    return _Shipped(sibling, sibling.parent)
