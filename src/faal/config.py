"""A recipe: everything that decides how a network is trained, as one frozen dataclass, in and out of YAML.

Numbers that the field writes as fractions (`8/255`) are read as such. Whatever changes over a run is a `Schedule` over
the fraction of the run that is over, so that every constant scales with the number of epochs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from faal.errors import InputError, unknown


def number(text: object) -> float:
    """A number, or a quotient such as `8/255`. Raises ValueError, or ZeroDivisionError for `1/0`."""
    if isinstance(text, bool):
        raise ValueError(f"{text} is no number")
    if isinstance(text, int | float):
        value = float(text)
    else:
        above, _, below = str(text).partition("/")
        value = float(above) / (float(below) if below else 1.0)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


@dataclass(frozen=True)
class Schedule:
    """A value that changes at fractions of the run: `values[k]` holds from `starts[k]` on.

    Raises:
        InputError: starts that do not rise from 0 to below 1, or not one value for each.
    """

    starts: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.starts or len(self.starts) != len(self.values) or self.starts[0] != 0:
            raise InputError("a schedule begins at 0 and has one value per start")
        if self.starts[-1] >= 1:
            raise InputError("starts are fractions of the run, below 1")
        if list(self.starts) != sorted(set(self.starts)):
            raise InputError("each start is larger than the one before it")

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """The same value throughout."""
        return cls((0.0,), (float(value),))

    @classmethod
    def parse(cls, text: object) -> Schedule:
        """From a number, a mapping `{0: 0.1, 1/2: 0.01}` or its form on the command line, `0:0.1,1/2:0.01`."""
        if isinstance(text, Schedule):
            return text
        if isinstance(text, str) and ":" in text:
            text = dict(part.split(":", 1) for part in text.split(","))
        if isinstance(text, Mapping):
            pairs = sorted((number(start), number(value)) for start, value in text.items())
            return cls(tuple(start for start, _ in pairs), tuple(value for _, value in pairs))
        return cls.constant(number(text))

    def at(self, progress: float) -> float:
        """The value when the fraction `progress` of the run is over."""
        reached = [value for start, value in zip(self.starts, self.values, strict=True) if start <= progress + 1e-9]
        return reached[-1]

    def plain(self) -> float | dict[str, float]:
        """As YAML writes it."""
        if len(self.values) == 1:
            return self.values[0]
        return {_as_written(start): value for start, value in zip(self.starts, self.values, strict=True)}


def _as_written(start: float) -> str:
    """A start as a short fraction where it is one, so that 1/3 does not become 0.3333333333333333."""
    fraction = Fraction(start).limit_denominator(1000)
    return str(fraction) if float(fraction) == start else repr(start)


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. Every field can be set in a YAML file and on the command line."""

    method: str = _setting("pgd-at", "What is trained, a row of `faal methods`.")
    model: str = _setting("prn18", "The network: prn18, rn18, wrn34-10, small, or your own as module:function.")
    width: int | None = _setting(None, "Channels of the first stage (wrn: widening factor); the model's own if unset.")
    depth: int | None = _setting(None, "Depth of the network; the model's own if unset.")
    normalize: str = _setting("none", "Normalisation inside the network: none, cifar10, cifar100, or MEAN:STD.")

    epochs: int = _setting(200, "Passes over the training set.")
    batch_size: int = _setting(128, "Images per step, over all processes.")
    lr: Schedule = _setting(Schedule((0.0, 0.5, 0.75), (0.1, 0.01, 0.001)), "Learning rate of SGD over the run.")
    momentum: float = _setting(0.9, "Momentum of SGD.")
    nesterov: bool = _setting(False, "Nesterov momentum.")
    weight_decay: float = _setting(5e-4, "L2 penalty in SGD.")

    crop: int = _setting(4, "Random crop: pixels of zero padding on each side; 0 for none.")
    flip: bool = _setting(True, "Random horizontal flip.")

    epsilon: float = _setting(8 / 255, "Radius of the L-infinity ball, in units of images in [0, 1]; reads 8/255.")
    step_size: float = _setting(2 / 255, "Length of one attack step, in the same units.")
    steps: int = _setting(10, "Attack steps in training.")

    beta: float = _setting(6.0, "Weight of the robust term of TRADES and MART.")
    tau: Schedule = _setting(Schedule.constant(0.5), "FAAL: radius of the KL ball around uniform, over the run.")
    smoothing: float = _setting(0.0, "FAAL: decay of a moving average of the class statistics; 0 is the paper.")
    statistic: str = _setting("margin", "FAAL: what classes are judged by, margin or cross-entropy.")
    awp_gamma: Schedule = _setting(Schedule.constant(0.005), "AWP: size of the perturbation over the run.")

    average: str = _setting("none", "Moving average of the weights: none, step (per step) or epoch (per epoch).")
    average_decay: float = _setting(0.999, "Its decay.")
    average_from: float = _setting(0.0, "The fraction of the run after which averaging begins.")

    hold_out: str = _setting("select", "Training images withheld: select (4 % for the choice of the epoch) or none.")
    select: str = _setting("sum", "The epoch that is kept: sum (average + worst), average, worst (class), or last.")
    select_attack: str = _setting("cw10", "The attack that it is chosen under, on the withheld part.")

    precision: str = _setting("auto", "Arithmetic of training: float32, bf16, or auto (bf16 on GPUs that have it).")
    log_every: int = _setting(20, "Steps between two writes of metrics.jsonl; each step is logged.")
    checkpoint_every: float = _setting(300.0, "Seconds between checkpoints inside an epoch; each epoch ends with one.")

    def __post_init__(self) -> None:
        choices = {
            "average": ("none", "step", "epoch"),
            "hold_out": ("select", "none"),
            "select": ("sum", "average", "worst", "last"),
            "precision": ("auto", "float32", "bf16"),
            "statistic": ("margin", "cross-entropy"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        ranges = {
            "epochs": (1, math.inf),
            "batch_size": (2, math.inf),
            "momentum": (0, 1),
            "weight_decay": (0, math.inf),
            "crop": (0, 64),
            "step_size": (0, 1),
            "steps": (0, math.inf),
            "beta": (0, math.inf),
            "smoothing": (0, 0.999999),
            "average_decay": (0, 1),
            "average_from": (0, 1),
            "log_every": (1, math.inf),
            "checkpoint_every": (0, math.inf),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                allowed_range = f"is at least {low:g}" if high == math.inf else f"lies between {low:g} and {high:g}"
                raise InputError(f"{name} {allowed_range}, not {getattr(self, name):g}")
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov needs a momentum above 0; set one, or nesterov to false")
        if not re.fullmatch(r"(pgd|cw)[1-9]\d{0,4}", self.select_attack):
            raise InputError(f"select_attack is pgdK or cwK, of K steps, such as cw10, not {self.select_attack!r}")
        check_epsilon(self.epsilon)
        for name in ("lr", "tau", "awp_gamma"):
            if min(getattr(self, name).values) < 0:
                raise InputError(f"{name} is never negative, but the recipe has {getattr(self, name).plain()}")

    def plain(self) -> dict[str, Any]:
        """As plain numbers and strings, for YAML and checkpoints."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value.plain() if isinstance(value, Schedule) else value for name, value in values.items()}

    def replace(self, settings: Mapping[str, Any], *, source: str) -> Recipe:
        """This recipe with other settings, read from text where they are text.

        Args:
            settings: field names (dashes count as underscores) to values.
            source: where they come from, for the error.

        Raises:
            InputError: an unknown field (names the nearest), or a value that does not read.
        """
        known = {f.name: f for f in fields(self)}
        values = {}
        for key, value in settings.items():
            name = str(key).replace("-", "_")
            if name not in known:
                raise unknown(f"setting ({source})", str(key), known, see="`faal recipes --settings`")
            values[name] = _read(known[name], value, source)
        try:
            return dataclasses.replace(self, **values)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None


def _read(item: dataclasses.Field[Any], value: Any, source: str) -> Any:
    """A setting's value in the type of its field."""
    kind = str(item.type)
    try:
        if kind == "Schedule":
            return Schedule.parse(value)
        if value is None or (isinstance(value, str) and value.lower() == "none" and "None" in kind):
            if "None" in kind:
                return None
            if value is None:
                raise ValueError("a value is missing")
        if kind == "bool":
            known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return known[str(value).lower()]
        if kind.startswith("int"):
            if number(value) != int(number(value)):
                raise ValueError("a whole number is wanted")
            return int(number(value))
        if kind == "float":
            return number(value)
        return str(value)
    except (ValueError, KeyError, ZeroDivisionError, TypeError) as error:
        why = f" ({error})" if isinstance(error, InputError) else ""  # a schedule says what is wrong with it
        wanted = {"Schedule": "a number or a schedule such as 0:0.1,1/2:0.01", "bool": "true or false"}
        wanted |= {"float": "a number such as 0.5 or 8/255", "str": "a word"}
        raise InputError(f"{source}: {item.name} is {wanted.get(kind, 'a whole number')}{why}, not {value!r}") from None


def parse_epsilon(text: str) -> float:
    """A radius as it is written on the command line, such as `8/255`. Raises InputError."""
    try:
        epsilon = number(text)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"--epsilon is a number in units of images in [0, 1], such as 8/255, not {text!r}") from None
    check_epsilon(epsilon)
    return epsilon


def check_epsilon(epsilon: float) -> None:
    """Refuse a radius that is none, or that is written in pixel levels."""
    if epsilon > 1:
        raise InputError(
            f"epsilon {epsilon:g} is larger than the whole range of images in [0, 1]; did you mean {epsilon:g}/255?"
        )
    if not epsilon > 0:
        raise InputError(f"epsilon is the radius of a ball and larger than 0, not {epsilon:g}")


RECIPES = Path(__file__).parent / "recipes"
ENDINGS = (".yaml", ".yml")


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
    return start.replace(settings, source=str(path.name))


def _base(name: str, path: Path) -> Path:
    """The file that `base: name` means in the recipe at `path`."""
    beside = path.parent / (name if name.endswith(ENDINGS) else f"{name}.yaml")
    return (beside if beside.exists() else _shipped().get(name, beside)).resolve()
