"""The tables and figures of the paper as rows, and the lookup of a name from the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from faal.errors import unknown
from faal.methods import METHODS
from faal.study.reproduce import paper
from faal.study.reproduce.rows import Row, TableSpec

ARMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "frl-rwrm-0.05": ("FRL-RWRM 0.05", {"constants": {"tolerance": 0.05}}),
    "frl-rwrm-0.07": ("FRL-RWRM 0.07", {"constants": {"tolerance": 0.07}}),
    "faal-at": ("FAAL_AT", {}),
    "faal-at-awp": ("FAAL_AT-AWP", {}),
    "faal-trades": ("FAAL_TRADES", {}),
    "faal-trades-awp": ("FAAL_TRADES-AWP", {}),
    "faal-at-offsets": ("FAAL_AT, then offsets", {"offsets": True}),
    "faal-trades-offsets": ("FAAL_TRADES, then offsets", {"offsets": True}),
}
"""Arms of fine-tuning: label and settings. A name is the method, followed by a setting: a constant, or offsets."""

OFFSETS = "offsets"
"""The repair without training, which the paper does not contain: an arm of every table of fine-tunes."""


def _scratch(labels: Mapping[str, str], printed: Mapping[str, paper.PrintedAccuracies]) -> tuple[Row, ...]:
    """Rows of networks trained from scratch, named after their methods."""
    return tuple(
        Row(name=method, label=label, method=method, paper=printed.get(method, {})) for method, label in labels.items()
    )


def _fine_tunes(base: str, arms: Sequence[str], printed: Mapping[str, paper.PrintedAccuracies]) -> tuple[Row, ...]:
    """The repairs of a base: fine-tunes, and offsets alone."""
    tuned = (
        Row(
            name=f"{base}--{arm}",
            label=f"+ Fine-tune with {ARMS[arm][0]}",
            method=arm.partition("-0.")[0].removesuffix(f"-{OFFSETS}"),
            start=base,
            settings=ARMS[arm][1],
            paper=printed.get(f"{base}--{arm}", {}),
        )
        for arm in arms
    )
    return (*tuned, _offsets_of(base, "+ Offsets"))


def _offsets_of(base: str, label: str) -> Row:
    """Offsets on a base."""
    return Row(name=f"{base}--{OFFSETS}", label=label, method=OFFSETS, start=base)


_BASES = {"pgd-at": "PGD-AT", "trades": "TRADES", "mart": "MART", "trades-awp": "TRADES-AWP"}
_ARMS1 = ("frl-rwrm-0.05", "frl-rwrm-0.07", "faal-at", "faal-at-awp", "faal-at-offsets")
_ARMS3 = (
    *("frl-rwrm-0.05", "faal-at", "faal-at-awp", "faal-trades", "faal-trades-awp"),
    *("faal-at-offsets", "faal-trades-offsets"),
)

TABLE1 = TableSpec(
    name="table1",
    title="Fine-tuning of adversarially trained WRN-34-10 networks on CIFAR-10",
    data="cifar10",
    model="wrn34-10",
    attacks=("clean", "pgd20", "cw20", "autoattack"),
    rows=tuple(
        row for base in _scratch(_BASES, paper.TABLE1) for row in (base, *_fine_tunes(base.name, _ARMS1, paper.TABLE1))
    ),
)

TABLE2 = TableSpec(
    name="table2",
    title="PreActResNet-18 from scratch on CIFAR-10",
    data="cifar10",
    model="prn18",
    attacks=("clean", "autoattack"),
    rows=_scratch(
        {
            "pgd-at": "PGD-AT",
            "trades": "TRADES",
            "cfa-at": "CFA_AT",
            "cfa-trades": "CFA_TRADES",
            "wat": "WAT_TRADES",
            "faal-at": "FAAL_AT",
            "faal-trades": "FAAL_TRADES",
        },
        paper.TABLE2,
    ),
)

TABLE3 = TableSpec(
    name="table3",
    title="ResNet-18 on CIFAR-100",
    data="cifar100",
    model="rn18",
    attacks=("clean", "autoattack"),
    rows=(
        *_scratch({"trades": "TRADES"}, paper.TABLE3),
        *_fine_tunes("trades", _ARMS3, paper.TABLE3),
        *_scratch(
            {"cfa-trades": "CFA_TRADES", "wat": "WAT_TRADES", "faal-at": "FAAL_AT", "faal-trades": "FAAL_TRADES"},
            paper.TABLE3,
        ),
    ),
)

FIGURE1 = TableSpec(
    name="figure1",
    title="Accuracy per class of a standard and an adversarially trained WRN-34-10 on CIFAR-10",
    data="cifar10",
    model="wrn34-10",
    attacks=("clean", "autoattack"),
    rows=_scratch({"standard": "Standard training", "pgd-at": "PGD-AT"}, {}),
)

FIGURE2 = TableSpec(
    name="figure2",
    title="Robust accuracy per class after fine-tuning the PGD-AT WRN-34-10",
    data="cifar10",
    model="wrn34-10",
    attacks=("clean", "autoattack"),
    rows=tuple(row for row in TABLE1.rows if "pgd-at" in (row.name, row.start)),
)

FIGURE3 = TableSpec(
    name="figure3",
    title="Robust accuracy per class of PreActResNet-18 trained from scratch with the TRADES loss",
    data="cifar10",
    model="prn18",
    attacks=("clean", "autoattack"),
    rows=tuple(row for row in TABLE2.rows if row.method in ("trades", "cfa-trades", "wat", "faal-trades")),
)

FINE_TUNES = ("frl-rw", "frl-rwrm", "csr")
"""Methods that were proposed only for fine-tuning."""

ALL_METHODS = TableSpec(
    name="methods",
    title="Every method on PreActResNet-18 and CIFAR-10",
    data="cifar10",
    model="prn18",
    attacks=("clean", "autoattack"),
    rows=(
        *_scratch({name: name for name in METHODS if name not in (*FINE_TUNES, OFFSETS)}, {}),
        *(Row(name=f"trades--{name}", label=f"TRADES + {name}", method=name, start="trades") for name in FINE_TUNES),
        _offsets_of("trades", "TRADES + offsets"),
    ),
)

TABLES = {table.name: table for table in (TABLE1, TABLE2, TABLE3, FIGURE1, FIGURE2, FIGURE3, ALL_METHODS)}
"""Tables and figures of trained networks: the paper's, and one of all methods. Rows with the same name and network in
two tables share one run."""

WITHOUT_ROWS = ("table4", "theorem1")
"""Results without a trained network: a timing and a simulation."""


def find(what: str) -> tuple[TableSpec, tuple[Row, ...]]:
    """Resolve a name from the command line to a table and the requested rows of it.

    Args:
        what: a table or figure; TABLE/ROW; or a row's name or else its method, looked up in the first table that
            has it.

    Raises:
        InputError: there is no such table or row; the message names the nearest.
    """
    if what in TABLES:
        return TABLES[what], TABLES[what].rows
    name, slash, row_name = what.partition("/")
    if slash:
        if name not in TABLES:
            raise unknown("table", name, TABLES, see="`faal reproduce --help`")
        table = TABLES[name]
        names = [row.name for row in table.rows]
        if row_name not in names:
            raise unknown(f"row of {name}", row_name, names)
        return table, (table.row(row_name),)
    for attribute in ("name", "method"):
        for table in TABLES.values():
            for row in table.rows:
                if getattr(row, attribute) == what:
                    return table, (row,)
    rows = [row.name for table in TABLES.values() for row in table.rows]
    raise unknown("table, figure or row", what, [*TABLES, *WITHOUT_ROWS, *rows], see="`faal reproduce --help`")
