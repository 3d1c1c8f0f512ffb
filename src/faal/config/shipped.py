"""Recipes in files: the shipped ones by name, one's own by path."""

from pathlib import Path

import yaml

from faal.config.recipe import Recipe
from faal.errors import InputError, unknown

RECIPES = Path(__file__).parent.parent / "recipes"
ENDINGS = (".yaml", ".yml")

REPAIR = "-faal-at-repair"
"""What repairs where no recipe is named."""

MANY_CLASSES = 50
"""From so many on a batch shows few images of a class, and some classes not at all."""


def _shipped() -> dict[str, Path]:
    """Name -> file of the shipped recipes; files whose names begin with `_` are there for others to start from."""
    return {
        f"{path.parent.name}-{path.stem}" if path.parent != RECIPES else path.stem: path
        for path in RECIPES.rglob("*.yaml")
        if not path.stem.startswith("_")
    }


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
        path = shipped[name]
    return _from_file(path.resolve(), seen=())


def repair_recipe(data: str, model: str, num_classes: int, ending: str = REPAIR) -> str:
    """The shipped recipe that a network is repaired by where none is named: that of its data and architecture, else of
    its data; for data of one's own CIFAR-10's, with many classes CIFAR-100's.

    Args:
        data: a data set's name, as recipes begin with.
        model: an architecture's name.
        num_classes: C.
        ending: of its name; there are such recipes for every data set and architecture that FAAL repairs.
    """
    known = [name.removesuffix(ending) for name in recipe_names() if name.endswith(ending)]
    general = "cifar100-rn18" if num_classes >= MANY_CLASSES else "cifar10-prn18"
    likely = [f"{data}-{model}", *(setting for setting in known if setting.startswith(f"{data}-")), general]
    return next(setting for setting in likely if setting in known) + ending


def _from_file(path: Path, seen: tuple[Path, ...]) -> Recipe:
    if path in seen:
        raise InputError(f"the recipe {path} is its own base; remove one `base:` of {', '.join(map(str, seen))}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    start = Recipe() if base is None else _from_file(_base(str(base), path), (*seen, path))
    recipe = start.replace(settings, source=str(path.name))
    named = {str(name).replace("-", "_") for name in settings}
    missing = [name for name in ("epsilon", "step_size") if name not in named]
    if recipe.norm != start.norm and missing:
        raise InputError(
            f"{path.name}: norm {recipe.norm} wants its own {' and '.join(missing)}; what the recipe starts from is in "
            f"{start.norm}"
        )
    return recipe


def _base(name: str, path: Path) -> Path:
    """The file that `base: name` means in the recipe at `path`."""
    beside = path.parent / (name if name.endswith(ENDINGS) else f"{name}.yaml")
    return (beside if beside.exists() else _shipped().get(name, beside)).resolve()
