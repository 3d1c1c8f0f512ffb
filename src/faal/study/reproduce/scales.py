"""The scales at which a table is reproduced, and the recipe of each row at a scale."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from faal.config import Recipe, load_recipe
from faal.errors import InputError, one_of
from faal.methods import method
from faal.study.reproduce.rows import Row, TableSpec

ScaleName = Literal["paper", "small", "tiny"]
ProtocolName = Literal["honest", "published"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a reproduction is reduced compared with the paper."""

    name: ScaleName
    data: str | None = None
    """The data set of all tables; None: that of each table."""
    models: Mapping[str, str] = field(default_factory=dict)
    """The table's network -> its replacement; `*` for any."""
    attacks: tuple[str, ...] | None = None
    """Attacks that replace the table's."""
    limit: int | None = None
    """Number of test images, drawn with the audit's seed, the same for all rows; None: all."""
    scratch: Mapping[str, Any] = field(default_factory=dict)
    """Settings of rows that are trained from scratch."""
    repair: Mapping[str, Any] = field(default_factory=dict)
    """Settings of fine-tunes."""
    max_repair_epochs: int | None = None
    """The largest number of epochs of a fine-tune."""
    remarks: tuple[str, ...] = ()
    """Sentences printed under every table at this scale."""


SCALES: dict[ScaleName, Scale] = {
    "paper": Scale(name="paper"),
    "small": Scale(
        name="small",
        models={"wrn34-10": "prn18"},
        attacks=("clean", "pgd20", "cw20"),
        limit=2000,
        scratch={"width": 16, "epochs": 6, "steps": 5},
        repair={"steps": 5},
        max_repair_epochs=6,
        remarks=(
            "Networks of width 16, trained for 6 epochs with attacks of 5 steps: the setting and "
            "the results are not those of the paper.",
            "Fine-tunes that the paper runs for 80 epochs run for 6 here.",
            "AutoAttack takes too long on a CPU: robust means correct under PGD-20 and CW-20 (`all`), which "
            "overestimates robust accuracy under AutoAttack.",
            "2,000 test images are evaluated, the same for all rows.",
        ),
    ),
    "tiny": Scale(
        name="tiny",
        data="digits",
        models={"*": "small"},
        attacks=("clean", "pgd20x5", "cw20x5"),
        remarks=(
            "scikit-learn's digits and a small network: the methods are the paper's, the data and the network are not.",
            "Robust means correct under PGD-20 and CW-20 with five restarts each (`all`), not under AutoAttack.",
        ),
    ),
}

PROTOCOLS: dict[ProtocolName, str] = {
    "honest": "the same split, budget and selection rule for all rows, without test images",
    "published": "each method with the settings of its published code",
}
"""Protocol -> how its rows are trained."""

WITHHELD = {"hold_out": "both"}
"""One split for all rows: the steering images of some methods are withheld from the others too."""


def scale_named(name: str) -> Scale:
    """The scale of a name. Raises InputError, naming the nearest, where there is none."""
    return SCALES[one_of("scale", name, SCALES, see="`faal reproduce --help`")]


def protocol_named(name: str) -> ProtocolName:
    """The protocol of a name. Raises InputError, naming the nearest, where there is none."""
    return one_of("protocol", name, PROTOCOLS, see="`faal reproduce --help`")


def setting_of(table: TableSpec, scale: Scale) -> str:
    """DATA-MODEL, the prefix of the names of a table's recipes, such as `cifar10-prn18`."""
    model = scale.models.get(table.model, scale.models.get("*", table.model))
    return f"{scale.data or table.data}-{model}"


def recipe_of(table: TableSpec, row: Row, scale: Scale, protocol: ProtocolName) -> Recipe:
    """The recipe of a row: the shipped one, the scale's settings, the row's, and under `published` the method's own.

    Raises:
        InputError: there is no such recipe, or a setting is invalid.
    """
    recipe = load_recipe(f"{setting_of(table, scale)}-{row.method}{'-repair' if row.start else ''}")
    scale_settings = scale.repair if row.start else scale.scratch
    if row.start and scale.max_repair_epochs is not None:
        scale_settings = {**scale_settings, "epochs": min(recipe.epochs, scale.max_repair_epochs)}
    published = method(row.method).published if protocol == "published" else {}
    for settings, source in (
        (WITHHELD, "faal reproduce"),
        (scale_settings, f"scale {scale.name}"),
        (row.settings, f"{table.name}/{row.name}"),
        (published, f"{row.method} as published"),
    ):
        recipe = recipe.replace(settings, source=source)
    return recipe


def attacks_of(table: TableSpec, scale: Scale) -> tuple[str, ...]:
    """The attacks of a table at a scale."""
    return scale.attacks or table.attacks


def required_data(table: TableSpec, scale: Scale, spec: str | None) -> str:
    """Check `--data` against the data of a table; returns it, or the default where it is unset.

    Raises:
        InputError: it is unset and has no default, or names other data.
    """
    name = scale.data or table.data
    if spec is None and name == "digits":
        return name
    if spec is None:
        raise InputError(
            f"{table.name} at scale {scale.name} is trained on {name}: add --data {name}:DIR, the folder of the "
            "unpacked official download, or use --scale tiny, which needs none"
        )
    if spec.partition(":")[0] != name:
        raise InputError(f"{table.name} at scale {scale.name} is on {name}, not on {spec!r}; give --data "
                         f"{name}{'' if name == 'digits' else ':DIR'}")  # fmt: skip
    return spec
