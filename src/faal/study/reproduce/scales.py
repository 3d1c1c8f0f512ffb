"""At what size a table is reproduced, and the recipe of each of its rows there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faal.config import Recipe, load_recipe
from faal.errors import InputError, unknown
from faal.methods import method
from faal.study.reproduce.rows import Row, Table


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much smaller than the paper."""

    name: str
    data: str | None = None
    """What all tables are trained and judged on; None: each table's own."""
    models: Mapping[str, str] = field(default_factory=dict)
    """The table's network -> the one in its place; `*` for any."""
    attacks: tuple[str, ...] | None = None
    """What judges in place of the table's attacks."""
    limit: int | None = None
    """Test images judged, drawn with the audit's seed, the same for all rows; None: all."""
    scratch: Mapping[str, Any] = field(default_factory=dict)
    """Settings of rows that are trained from scratch."""
    repair: Mapping[str, Any] = field(default_factory=dict)
    """Settings of fine-tunes."""
    most_repair_epochs: int | None = None
    """Fine-tunes that are longer are cut to this."""
    words: tuple[str, ...] = ()
    """What a reader of a table at this scale has to know, in sentences."""


SCALES = {
    "paper": Scale(name="paper"),
    "small": Scale(
        name="small",
        models={"wrn34-10": "prn18"},
        attacks=("clean", "pgd20", "cw20"),
        limit=2000,
        scratch={"width": 16, "epochs": 6, "steps": 5},
        repair={"steps": 5},
        most_repair_epochs=6,
        words=(
            "Networks of width 16, trained for 6 epochs with attacks of 5 steps: the setting is not the "
            "paper's, and its figures are not to be expected.",
            "Fine-tunes that the paper runs for 80 epochs run for 6 here.",
            "AutoAttack takes far too long on a CPU: robust means correct under PGD-20 and CW-20 (`all`), which "
            "is more than AutoAttack leaves.",
            "2,000 test images are judged, the same for all rows.",
        ),
    ),
    "tiny": Scale(
        name="tiny",
        data="digits",
        models={"*": "small"},
        attacks=("clean", "pgd20x5", "cw20x5"),
        words=(
            "scikit-learn's digits and a small network: the methods are the paper's, the data and the network are not.",
            "Robust means correct under PGD-20 and CW-20 from five random starts each (`all`), not under AutoAttack.",
        ),
    ),
}

PROTOCOLS = ("honest", "published")

WITHHELD = {"hold_out": "both"}
"""One split for all rows: the part that some methods steer by is withheld from the others too."""


def scale_named(name: str) -> Scale:
    """The scale of a name. Raises InputError with the nearest where there is none."""
    if name not in SCALES:
        raise unknown("scale", name, SCALES, see="`faal reproduce --help`")
    return SCALES[name]


def check_protocol(name: str) -> None:
    """Refuse what is no protocol."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS, see="`faal reproduce --help`")


def setting_of(table: Table, scale: Scale) -> str:
    """DATA-MODEL, what the names of a table's recipes begin with, such as `cifar10-prn18`."""
    model = scale.models.get(table.model, scale.models.get("*", table.model))
    return f"{scale.data or table.data}-{model}"


def recipe_of(table: Table, row: Row, scale: Scale, protocol: str) -> Recipe:
    """The recipe of a row: the shipped one, the scale's settings, the row's own, and its published quirks if asked for.

    Raises:
        InputError: it is not shipped, or one of the settings does not fit.
    """
    recipe = load_recipe(f"{setting_of(table, scale)}-{row.method}{'-repair' if row.start else ''}")
    size = scale.repair if row.start else scale.scratch
    if row.start and scale.most_repair_epochs is not None:
        size = {**size, "epochs": min(recipe.epochs, scale.most_repair_epochs)}
    published = method(row.method).published if protocol == "published" else {}
    for settings, source in (
        (WITHHELD, "faal reproduce"),
        (size, f"scale {scale.name}"),
        (row.settings, f"{table.name}/{row.name}"),
        (published, f"{row.method} as published"),
    ):
        recipe = recipe.replace(settings, source=source)
    return recipe


def attacks_of(table: Table, scale: Scale) -> tuple[str, ...]:
    """What a table's networks are judged by."""
    return scale.attacks or table.attacks


def data_wanted(table: Table, scale: Scale, spec: str | None) -> str:
    """What `--data` has to say for a table, where it says that.

    Raises:
        InputError: it says nothing, or names other data.
    """
    name = scale.data or table.data
    if spec is None and name == "digits":
        return name
    if spec is None:
        raise InputError(
            f"{table.name} at scale {scale.name} is trained on {name}: add --data {name}:DIR, the folder of the "
            "unpacked official download, or try --scale tiny, which needs none"
        )
    if spec.partition(":")[0] != name:
        raise InputError(f"{table.name} at scale {scale.name} is on {name}, not on {spec!r}; give --data "
                         f"{name}{'' if name == 'digits' else ':DIR'}")  # fmt: skip
    return spec
