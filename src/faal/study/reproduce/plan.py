"""What has to be done for a table, in which order, and what waits for what.

Every piece of work makes one file and is done when that file is there: the plan holds no state of its own, and any
number of processes can read from the folder how far it has come.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from faal.config import Recipe
from faal.methods import first_epoch, method
from faal.study.reproduce.results import record_path
from faal.study.reproduce.rows import Row, Table
from faal.study.reproduce.scales import Scale, recipe_of, setting_of
from faal.study.reproduce.tables import TABLES
from faal.train.forks import MAY_DIFFER, fork_file


@dataclass(frozen=True, kw_only=True)
class Given:
    """A published checkpoint in the place of a base."""

    file: Path
    """It, or `zoo:NAME`."""
    normalize: str
    """What it expects its images normalised by; `none` for images in [0, 1]."""
    sha256: str
    model: str | None = None
    """The network that the call names for it; None for what the file records or, of a foreign one, the row's."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One network to train."""

    row: Row
    seed: int
    recipe: Recipe
    folder: Path
    start: Path | None = None
    """The folder of the run whose network is fine-tuned."""
    given: Given | None = None
    """What is taken in instead of being trained."""
    model: str | None = None
    """The network of the given base, its own or that which it starts from, where the call names one."""
    keep: tuple[int, ...] = ()
    """Epochs at whose beginning other runs fork from this one."""
    fork: tuple[Path, int] | None = None
    """The state of the plain run that this one goes on from, if it is there, and the epoch that it is of."""

    @property
    def trained(self) -> Path:
        """Is there when the run is over."""
        return self.folder / "trained.json"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One piece of work: the training of a run, or its judgement."""

    name: str
    """Fit for a file's name; the same in every plan of the same folder."""
    run: Run
    judges: bool
    makes: Path
    after: tuple[Path, ...] = ()
    """It can begin when any of these files is there; at once where there is none."""
    waits_for: str | None = None
    """The item that makes them."""


def plan(
    out: Path,
    table: Table,
    rows: Sequence[Row],
    scale: Scale,
    protocol: str,
    *,
    seeds: int,
    counts: Tensor,
    given: Mapping[str, Given] | None = None,
) -> list[Item]:
    """The work for some rows of a table, and for what they start from, in the order in which it is best taken up.

    Args:
        out: the folder of the reproduction.
        table: the table.
        rows: its rows that are wanted.
        scale: how large.
        protocol: `honest` or `published`.
        seeds: seeds 1 to this.
        counts: (C,) images of each class in the training set.
        given: row -> the checkpoint that stands in its place.

    Raises:
        InputError: a recipe is missing or does not fit.
    """
    planner = _Planner(
        out=out,
        table=table,
        setting=setting_of(table, scale),
        wanted=frozenset(row.name for row in rows),
        given=given or {},
        recipes={row.name: recipe_of(table, row, scale, protocol) for row in table.rows},
        forks={row.name: fork_of(table, row, scale, protocol, counts) for row in rows},
        keeps=kept(table, scale, protocol, counts),
    )
    items = [item for seed in range(1, seeds + 1) for row in rows for item in planner.items(row, seed)]
    distinct = {item.name: item for item in items}
    awaited = {item.waits_for for item in distinct.values() if not item.judges}
    # Seed by seed; within one, what others wait for, then verdicts, then what takes long, then the rest.
    return sorted(distinct.values(), key=lambda item: (item.run.seed, _rank(item, awaited)))


def _rank(item: Item, awaited: set[str | None]) -> int:
    if item.name in awaited:
        return 0
    if item.judges:
        return 1
    return 3 if item.after else 2


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """What the items of one plan are made from; recipes, forks and kept epochs by the names of rows."""

    out: Path
    table: Table
    setting: str
    wanted: frozenset[str]
    given: Mapping[str, Given]
    recipes: Mapping[str, Recipe]
    forks: Mapping[str, tuple[Row, int] | None]
    keeps: Mapping[str, tuple[int, ...]]

    def items(self, row: Row, seed: int) -> Iterator[Item]:
        """The verdict on a row, its training, and the training of its base."""
        if row.name in self.given and seed > 1:
            return  # one checkpoint has one verdict
        training = self.training(row, seed)
        if row.start is not None:
            yield self.training(self.table.row(row.start), seed)
        yield training
        yield Item(
            name=training.name.replace("train-", "judge-", 1),
            run=training.run,
            judges=True,
            makes=record_path(self.out, self.table.name, row.name, seed),
            after=(training.run.trained,),
            waits_for=training.name,
        )

    def training(self, row: Row, seed: int) -> Item:
        """The training of a row, after that of its base or up to where it forks from its plain run."""
        run = self.run(row, seed)
        after: tuple[Path, ...] = ()
        before = None
        fork = None if row.name in self.given else self.forks.get(row.name)
        if row.start is not None:
            before = self.run(self.table.row(row.start), seed)
            after = (before.trained,)
            run = dataclasses.replace(run, start=before.folder, model=before.model)
        elif fork is not None and fork[0].name not in self.given:
            plain = self.run(fork[0], seed)
            path = fork_file(plain.folder, fork[1])
            run = dataclasses.replace(run, fork=(path, fork[1]))
            if plain.row.name in self.wanted:
                # It stands alone where the other run is over without having kept the state, or has failed.
                before, after = plain, (path, plain.trained, failure_path(self.out, self.name(plain)))
        return Item(
            name=self.name(run),
            run=run,
            judges=False,
            makes=run.trained,
            after=after,
            waits_for=None if before is None else self.name(before),
        )

    def run(self, row: Row, seed: int) -> Run:
        given = self.given.get(row.name)
        place = "given" if given else f"seed-{seed}"
        return Run(
            row=row,
            seed=1 if given else seed,
            recipe=self.recipes[row.name],
            folder=self.out / "runs" / self.setting / row.name / place,
            given=given,
            model=given.model if given else None,
            keep=() if given else self.keeps.get(row.name, ()),
        )

    def name(self, run: Run) -> str:
        return f"train-{self.setting}-{run.row.name}-{run.folder.name}"


def fork_of(table: Table, row: Row, scale: Scale, protocol: str, counts: Tensor) -> tuple[Row, int] | None:
    """The row whose run begins as this row's does, and the epoch from which on they differ; None where it has none."""
    plain = method(row.method).plain
    if row.start is not None or plain is None:
        return None
    recipe = recipe_of(table, row, scale, protocol)
    for other in table.rows:
        if other.method == plain and other.start is None:
            first = first_epoch(recipe, counts)
            if 0 < first < recipe.epochs and _begins_as(recipe, recipe_of(table, other, scale, protocol)):
                return other, first
    return None


def _begins_as(recipe: Recipe, plain: Recipe) -> bool:
    ours, theirs = recipe.plain(), plain.plain()
    return all(ours[name] == theirs[name] for name in ours if name not in MAY_DIFFER)


def kept(table: Table, scale: Scale, protocol: str, counts: Tensor) -> dict[str, tuple[int, ...]]:
    """Row -> the epochs at whose beginning its run keeps its state: for the forks in any table that shares the run."""
    epochs: dict[str, set[int]] = {}
    for other in TABLES.values():
        for row in other.rows if setting_of(other, scale) == setting_of(table, scale) else ():
            if fork := fork_of(other, row, scale, protocol, counts):
                epochs.setdefault(fork[0].name, set()).add(fork[1])
    return {name: tuple(sorted(each)) for name, each in epochs.items()}


def failure_path(out: Path, name: str) -> Path:
    """Where it is told why the item `name` failed."""
    return out / "claims" / f"{name}.failed"
