"""The work items of a table, their order, and their dependencies.

Every item writes one file and is finished when that file exists: the plan stores no state, and any number of
processes can read the progress from the folder.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from faal.config import Recipe
from faal.methods import first_epoch, method
from faal.study.reproduce.results import record_path
from faal.study.reproduce.rows import Row, TableSpec
from faal.study.reproduce.scales import ProtocolName, Scale, recipe_of, setting_of
from faal.study.reproduce.tables import TABLES
from faal.train.forks import MAY_DIFFER, fork_file


@dataclass(frozen=True, kw_only=True)
class PublishedBase:
    """A published checkpoint that replaces a base."""

    file: Path
    """The checkpoint, or `zoo:NAME`."""
    normalize: str
    """The normalisation of its input; `none` for images in [0, 1]."""
    sha256: str
    model: str | None = None
    """The network named in the call; None for the one that the file records or, for third-party weights, the row's."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One network to train."""

    row: Row
    seed: int
    recipe: Recipe
    folder: Path
    start: Path | None = None
    """The folder of the run whose network is fine-tuned."""
    published: PublishedBase | None = None
    """The checkpoint that is imported instead of trained."""
    model: str | None = None
    """The network of the published base (this run's, or the one that it starts from), where the call names one."""
    fork_epochs: tuple[int, ...] = ()
    """Epochs at whose beginning the state is saved, since other runs fork from it."""
    fork: tuple[Path, int] | None = None
    """The state of the plain run that this one continues from, if the file exists, and its epoch."""

    @property
    def trained(self) -> Path:
        """The file that exists when the run is finished."""
        return self.folder / "trained.json"


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """The training of a run, or its audit."""

    name: str
    """Valid in a file name; the same in every plan of the same folder."""
    run: PlannedRun
    is_audit: bool
    output: Path
    ready_when: tuple[Path, ...] = ()
    """It can start when any of these files exists; at once where this is empty."""
    waits_for: str | None = None
    """The item that writes them."""


def plan(
    out: Path,
    table: TableSpec,
    rows: Sequence[Row],
    scale: Scale,
    protocol: ProtocolName,
    *,
    seeds: int,
    counts: Tensor,
    published: Mapping[str, PublishedBase] | None = None,
) -> list[WorkItem]:
    """The work items for some rows of a table and for their bases, in the preferred order.

    Args:
        out: the folder of the reproduction.
        table: the table.
        rows: the requested rows of it.
        scale: of the reproduction.
        protocol: `honest` or `published`.
        seeds: seeds 1 to this.
        counts: (C,) images of each class in the training set.
        published: row -> the checkpoint that replaces it.

    Raises:
        InputError: there is no recipe for a row, or a setting is invalid.
    """
    planner = _Planner(
        out=out,
        table=table,
        setting=setting_of(table, scale),
        requested=frozenset(row.name for row in rows),
        published=published or {},
        recipes={row.name: recipe_of(table, row, scale, protocol) for row in table.rows},
        forks={row.name: fork_of(table, row, scale, protocol, counts) for row in rows},
        fork_epochs=fork_epochs(table, scale, protocol, counts),
    )
    items = [item for seed in range(1, seeds + 1) for row in rows for item in planner.items(row, seed)]
    distinct = {item.name: item for item in items}
    awaited = {item.waits_for for item in distinct.values() if not item.is_audit}
    # Seed by seed; within a seed: items that others wait for, audits, training runs that no other shortens, the rest.
    return sorted(distinct.values(), key=lambda item: (item.run.seed, _rank(item, awaited)))


def _rank(item: WorkItem, awaited: set[str | None]) -> int:
    if item.name in awaited:
        return 0
    if item.is_audit:
        return 1
    return 3 if item.ready_when else 2


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Makes the items of one plan; recipes, forks and epochs to save are by the names of rows."""

    out: Path
    table: TableSpec
    setting: str
    requested: frozenset[str]
    published: Mapping[str, PublishedBase]
    recipes: Mapping[str, Recipe]
    forks: Mapping[str, tuple[Row, int] | None]
    fork_epochs: Mapping[str, tuple[int, ...]]

    def items(self, row: Row, seed: int) -> Iterator[WorkItem]:
        """The training of a row's base, of the row, and its audit."""
        if row.name in self.published and seed > 1:
            return  # one checkpoint is audited once
        training = self.training(row, seed)
        if row.start is not None:
            yield self.training(self.table.row(row.start), seed)
        yield training
        yield WorkItem(
            name=training.name.replace("train-", "judge-", 1),
            run=training.run,
            is_audit=True,
            output=record_path(self.out, self.table.name, row.name, seed),
            ready_when=(training.run.trained,),
            waits_for=training.name,
        )

    def training(self, row: Row, seed: int) -> WorkItem:
        """The training of a row, which waits for its base, or for the state that it forks from."""
        run = self.run(row, seed)
        ready_when: tuple[Path, ...] = ()
        before = None
        fork = None if row.name in self.published else self.forks.get(row.name)
        if row.start is not None:
            before = self.run(self.table.row(row.start), seed)
            ready_when = (before.trained,)
            run = dataclasses.replace(run, start=before.folder, model=before.model)
        elif fork is not None and fork[0].name not in self.published:
            plain = self.run(fork[0], seed)
            path = fork_file(plain.folder, fork[1])
            run = dataclasses.replace(run, fork=(path, fork[1]))
            if plain.row.name in self.requested:
                # It is trained alone where the plain run ended without saving the state, or failed.
                before, ready_when = plain, (path, plain.trained, failure_path(self.out, self.name(plain)))
        return WorkItem(
            name=self.name(run),
            run=run,
            is_audit=False,
            output=run.trained,
            ready_when=ready_when,
            waits_for=None if before is None else self.name(before),
        )

    def run(self, row: Row, seed: int) -> PlannedRun:
        published = self.published.get(row.name)
        place = "given" if published else f"seed-{seed}"
        return PlannedRun(
            row=row,
            seed=1 if published else seed,
            recipe=self.recipes[row.name],
            folder=self.out / "runs" / self.setting / row.name / place,
            published=published,
            model=published.model if published else None,
            fork_epochs=() if published else self.fork_epochs.get(row.name, ()),
        )

    def name(self, run: PlannedRun) -> str:
        return f"train-{self.setting}-{run.row.name}-{run.folder.name}"


def fork_of(table: TableSpec, row: Row, scale: Scale, protocol: ProtocolName, counts: Tensor) -> tuple[Row, int] | None:
    """The row whose run is identical up to an epoch, and that epoch; None where there is none."""
    plain = method(row.method).plain
    if row.start is not None or plain is None:
        return None
    recipe = recipe_of(table, row, scale, protocol)
    for other in table.rows:
        if other.method == plain and other.start is None:
            first = first_epoch(recipe, counts)
            if 0 < first < recipe.epochs and _same_until_fork(recipe, recipe_of(table, other, scale, protocol)):
                return other, first
    return None


def _same_until_fork(recipe: Recipe, plain: Recipe) -> bool:
    own, other = recipe.plain(), plain.plain()
    return all(own[name] == other[name] for name in own if name not in MAY_DIFFER)


def fork_epochs(table: TableSpec, scale: Scale, protocol: ProtocolName, counts: Tensor) -> dict[str, tuple[int, ...]]:
    """Row -> the epochs at whose beginning its run saves its state: for the forks in any table that shares the run."""
    epochs: dict[str, set[int]] = {}
    for other in TABLES.values():
        for row in other.rows if setting_of(other, scale) == setting_of(table, scale) else ():
            if fork := fork_of(other, row, scale, protocol, counts):
                epochs.setdefault(fork[0].name, set()).add(fork[1])
    return {name: tuple(sorted(each)) for name, each in epochs.items()}


def failure_path(out: Path, name: str) -> Path:
    """The file that records why the item `name` failed."""
    return out / "claims" / f"{name}.failed"
