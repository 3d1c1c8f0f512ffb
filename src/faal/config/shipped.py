"""Recipes in files: the shipped ones by name, one's own by path.

A folder of `recipes/` is a setting, DATA-MODEL. What is the same in all settings, a method's recipe above all, lies in
`recipes/_methods` and is every setting's: what it starts from is looked for in the setting's folder first. A file
of the same name in the setting's folder takes its place.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from faal.config.recipe import Recipe
from faal.errors import InputError, unknown

RECIPES = Path(__file__).parent.parent / "recipes"
SHARED = "_methods"
ENDINGS = (".yaml", ".yml")

REPAIR = "-faal-at-repair"
"""What repairs where no recipe is named."""

LIKE_MNIST = ("kmnist", "emnist-")
"""How the names of data sets begin that have no recipes and whose images are like MNIST's: strokes, not to be flipped.
"""

MANY_CLASSES = 50
"""From so many on a batch shows few images of a class, and some classes not at all."""


class _Shipped(NamedTuple):
    """A shipped recipe's file, and the folder of its setting."""

    path: Path
    setting: Path


def _shipped() -> dict[str, _Shipped]:
    """Name -> file of the shipped recipes; files whose names begin with `_` are there for others to start from."""
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

    `base:` in a file names what it starts from: a file beside it, or else a shipped recipe. A run's config.yaml is a
    recipe too, the run's.

    Raises:
        InputError: no such recipe (names the nearest), a file that does not read, an unknown key in it.
    """
    path = Path(name)
    if path.suffix not in ENDINGS:
        shipped = _shipped()
        if name not in shipped:
            raise unknown("recipe", name, shipped, see="`faal recipes`")
        return _from_file(*shipped[name], seen=())
    return _from_file(path, path.parent, seen=())


def repair_recipe(data: str, model: str, num_classes: int, ending: str = REPAIR) -> str:
    """The shipped recipe that a network is repaired by where none is named: that of its data and architecture, else of
    its data; MNIST's for data in its form; for data of one's own CIFAR-10's, with many classes CIFAR-100's.

    Args:
        data: a data set's name, as recipes begin with.
        model: an architecture's name.
        num_classes: C.
        ending: of its name; there are such recipes for every data set and architecture that FAAL repairs.
    """
    if data.startswith(LIKE_MNIST) and num_classes < MANY_CLASSES:
        data = "mnist"
    known = [name.removesuffix(ending) for name in recipe_names() if name.endswith(ending)]
    general = "cifar100-rn18" if num_classes >= MANY_CLASSES else "cifar10-prn18"
    likely = [f"{data}-{model}", *(setting for setting in known if setting.startswith(f"{data}-")), general]
    return next(setting for setting in likely if setting in known) + ending


MERGED = "tag:yaml.org,2002:merge"
"""`<<`: what it brings in, a mapping's own keys may replace."""


class _Once(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that comes twice in a mapping: of the two, YAML's own takes the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written, if its keys differ from each other."""
        node = super().compose_mapping_node(anchor)
        seen: dict[object, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGED:
                continue
            name, line = self.construct_object(key), key.start_mark.line + 1
            if name in seen:
                raise yaml.YAMLError(
                    f"{key.value!r} is given twice, in lines {seen[name]} and {line}; leave one of them"
                )
            seen[name] = line
        return node


def _from_file(path: Path, setting: Path, seen: tuple[Path, ...]) -> Recipe:
    """The recipe in a file; what it starts from is looked for in the folder `setting`."""
    path = path.resolve()
    if path in seen:
        raise InputError(f"the recipe {path} is its own base; remove one `base:` of {', '.join(map(str, seen))}")
    try:
        settings = _Once(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise InputError(f"there is no recipe file {path}; `faal recipes` lists the shipped ones") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"the recipe {path} does not read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        found = "a list" if isinstance(settings, list) else "nothing" if settings is None else "a single value"
        raise InputError(f"a recipe consists of `setting: value` lines, but {path} holds {found}")
    if isinstance(settings.get("recipe"), dict):
        settings = settings["recipe"]
    base = settings.pop("base", None)
    start = Recipe() if base is None else _from_file(*_base(str(base), setting), (*seen, path))
    recipe = start.replace(settings, source=str(path.name))
    named = {str(name).replace("-", "_") for name in settings}
    missing = [name for name in ("epsilon", "step_size") if name not in named]
    if recipe.norm != start.norm and missing:
        raise InputError(
            f"{path.name}: norm {recipe.norm} wants its own {' and '.join(missing)}; what the recipe starts from is in "
            f"{start.norm}"
        )
    return recipe


def _base(name: str, setting: Path) -> _Shipped:
    """The file that `base: name` means in a recipe whose folder is `setting`, and the folder of its own base."""
    file = name if name.endswith(ENDINGS) else f"{name}.yaml"
    beside, shared = setting / file, RECIPES / SHARED / file
    if not beside.exists():
        if setting.resolve().parent == RECIPES.resolve() and shared.exists():
            return _Shipped(shared, setting)
        if name in (shipped := _shipped()):
            return shipped[name]
    return _Shipped(beside, beside.parent)
