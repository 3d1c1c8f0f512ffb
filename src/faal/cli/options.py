"""Options that several commands share."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from faal.config import Recipe, Schedule, epsilon_text
from faal.config.threat import MAX_EPSILON
from faal.errors import InputError

SUFFIXES = {".bin", ".ckpt", ".pkl", ".pt", ".pth", ".safetensors", ".tar", ".th", ".yaml", ".yml"}
"""Suffixes of files of weights and recipes."""

Checkpoint = Annotated[
    Path,
    Parameter(
        help="A checkpoint, a run's folder, zoo:NAME (`faal zoo`), or third-party weights (with --model).",
    ),
]
Data = Annotated[
    str,
    Parameter(
        help="digits, cifar10[:DIR], cifar100[:DIR] (the unpacked official download), fashion-mnist[:DIR], "
        "mnist[:DIR], kmnist[:DIR] (without DIR where `faal data` or torchvision puts them), cifar10.1:DIR[:v4], "
        "cifar10-c:DIR:CORRUPTION:SEVERITY (test sets for CIFAR-10), idx:DIR (files in MNIST's format), folder:DIR "
        "(DIR/train/CLASS/*.png and DIR/test/CLASS/*.png), npz:FILE, or module:function."
    ),
]
Groups = Annotated[
    str | None,
    Parameter(
        help="FILE or FILE:COLUMN: a CSV file with a row per sample in the data's order (or, for a folder, a column "
        "`file` such as test/CLASS/NAME.png) and a column for each grouping, such as camera or site."
    ),
]
Device = Annotated[str, Parameter(help="auto (a GPU if available), cpu or cuda.")]
Size = Annotated[str | None, Parameter(help="H,W: resize the images of a folder to this size.")]
Rgb = Annotated[
    bool,
    Parameter(
        help="Convert gray images to three equal channels, for a network that expects colour images.", negative=()
    ),
]
Out = Annotated[Path | None, Parameter(help="The output folder.")]
Seed = Annotated[int, Parameter(help="The seed of all random numbers.")]
Model = Annotated[
    str | None,
    Parameter(
        help="For third-party weights: prn18 or one of its variants (prn18:preact-shortcut and others), rn18, rn20, "
        "wrn28-10, wrn34-10, wrn34-20, small, timm:NAME, hf:NAME_OR_DIR, robustbench:NAME[:DATASET[:THREAT]], or "
        "module:function; docs/models.md describes them. A checkpoint of this program requires it where its network is "
        "module:function, which is imported only if it is named here."
    ),
]
Width = Annotated[int | None, Parameter(help="For third-party weights: the network's width.")]
Depth = Annotated[int | None, Parameter(help="For third-party weights: the network's depth.")]
Normalize = Annotated[
    str | None,
    Parameter(
        help="For third-party weights, the normalisation of their input: none, cifar10, cifar100 or MEAN:STD, followed "
        "by :bgr where blue is the first channel; if unset, that of timm or Hugging Face for their networks, else none."
    ),
]


def short_name(path: Path | str) -> str:
    """The name of a checkpoint, a run's folder or a recipe: the last part of its path, without a file's suffix.

    A folder has no suffix: `runs/tau0.5` is `tau0.5`, and `.` the folder's own name. `zoo:NAME` remains as it is.
    """
    full = Path(path).absolute() if Path(path).name not in ("", "..") else Path(path).resolve()
    return full.stem if full.suffix in SUFFIXES and not full.is_dir() else full.name


def refuse_overwriting(out: Path, names: Iterable[str], *, data: str, inputs: Iterable[Path | str | None]) -> None:
    """Check that a command's output replaces none of its inputs, and is not written into the folders of the data.

    Args:
        out: the folder of the output.
        names: the files that are written there.
        data: the value of `--data`.
        inputs: files that are read, None where one is not given; FILE:COLUMN means the file FILE.

    Raises:
        InputError: an input would be overwritten, or the output is in the data's folder.
    """
    from faal.data.load import named_path

    data_path = named_path(data)
    given = [str(each) for each in (data_path, *inputs) if each is not None]
    read = [Path(text) for each in given for text in (each, each.rpartition(":")[0])]
    for path in (out / name for name in names):
        if path.is_file() and any(each.is_file() and path.samefile(each) for each in read):
            raise InputError(f"{path} is read, and would be overwritten; choose another folder with --out")
    if data_path is not None and data_path.is_dir():
        real, parts = out.resolve(), [(data_path / part).resolve() for part in ("train", "test")]
        if real == data_path.resolve() or any(real.is_relative_to(part) for part in parts):
            raise InputError(f"{out} is a folder of the data; choose another one with --out")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse `H,W` to two numbers."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--size is H,W in pixels, such as 32,32, not {text!r}")
    return int(parts[0]), int(parts[1])


def _help(item: dataclasses.Field[Any]) -> str:
    default = item.default if item.default is not dataclasses.MISSING else "none"
    default = default.plain() if isinstance(default, Schedule) else default
    return f"{item.metadata['help']} [{default}]"


FLAGS = {"offsets"}
"""Settings that are switched on by their option without a value."""

Settings = dataclasses.make_dataclass(
    "Settings",
    [
        (
            item.name,
            Annotated[
                bool | None if item.name in FLAGS else str | None,
                Parameter(help=_help(item), group="Settings of the recipe", show_default=False, negative=()),
            ],
            dataclasses.field(default=None),
        )
        for item in dataclasses.fields(Recipe)
    ],
    kw_only=True,
    frozen=True,
    namespace={"__module__": __name__},  # else it is `types`, and cyclopts treats the class as a built-in
)
"""Every field of a recipe as an option, derived from `Recipe`. None leaves the recipe's value."""

Overrides = Annotated[Settings, Parameter(name="*")]  # type: ignore[valid-type]


UNSET = Settings()


def given(settings: Any) -> dict[str, str]:
    """The settings on the command line, as written there."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}


def overridden(recipe: Recipe, settings: Any) -> Recipe:
    """The recipe with the settings of the command line; a new threat adapts the step size, unless that is given too."""
    changes: dict[str, Any] = given(settings)
    if ":" in changes.get("model", ""):
        from faal.models.own import is_foreign

        if is_foreign(changes["model"]):  # the user's function sets its size; the recipe's is another network's
            changes = {"width": None, "depth": None} | changes
    changed = recipe.replace(changes, source="command line")
    if changed.norm != recipe.norm and "epsilon" not in changes:
        raise InputError(f"--norm {changed.norm} requires --epsilon: the recipe's is a radius in {recipe.norm}")
    if "step_size" in changes or changed.threat == recipe.threat:
        return changed
    # The step size scales with the radius; in another norm it is a quarter of the radius, as in an audit.
    share = recipe.step_size / recipe.epsilon if changed.norm == recipe.norm else 1 / 4
    return changed.replace(
        {"step_size": min(MAX_EPSILON[changed.norm], share * changed.epsilon)}, source="command line"
    )


def attack_budget_notes(recipe: Recipe) -> tuple[str, ...]:
    """A note if the training attack cannot reach the boundary of its ball."""
    if recipe.method == "standard" or recipe.steps * recipe.step_size >= recipe.epsilon:
        return ()
    return (
        f"The training attack reaches {recipe.steps * recipe.step_size:.3g} of epsilon "
        f"{epsilon_text(recipe.epsilon)} in {recipe.steps} steps of {recipe.step_size:.3g}: it "
        "cannot reach the boundary of the ball; increase --step-size or --steps.",
    )
