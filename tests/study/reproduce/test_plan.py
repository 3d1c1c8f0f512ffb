"""The plan: dependencies, forks and order."""

from pathlib import Path

import pytest
import torch

from faal.study.reproduce.plan import PublishedBase, WorkItem, fork_epochs, fork_of, plan
from faal.study.reproduce.rows import Row, TableSpec
from faal.study.reproduce.scales import SCALES, recipe_of
from faal.study.reproduce.tables import FIGURE2, TABLE1, TABLE2, TABLE3
from faal.study.reproduce.workers.pool import is_ready

TEN, HUNDRED = torch.full((10,), 5000), torch.full((100,), 500)
PAPER, SMALL = SCALES["paper"], SCALES["small"]


def planned(out: Path, table: TableSpec, rows: list[str] | None = None, *, scale=PAPER, seeds=1, protocol="honest",
            published=None) -> dict[str, WorkItem]:  # fmt: skip
    """A plan by the names of its items, without the setting, which is the same for all."""
    counts = HUNDRED if table.data == "cifar100" else TEN
    chosen = [table.row(name) for name in rows] if rows else table.rows
    items = plan(out, table, chosen, scale, protocol, seeds=seeds, counts=counts, published=published)
    return {item.name.replace(f"-{item.run.folder.parent.parent.name}", ""): item for item in items}


def finish(item: WorkItem) -> None:
    item.output.parent.mkdir(parents=True, exist_ok=True)
    item.output.touch()


def test_every_row_and_seed_is_trained_and_audited_once(tmp_path: Path) -> None:
    items = planned(tmp_path, TABLE1, seeds=3)
    assert len(items) == 3 * 2 * len(TABLE1.rows)
    assert sum(item.is_audit for item in items.values()) == 3 * len(TABLE1.rows)
    assert len({item.output for item in items.values()}) == len(items)
    seeds = [item.run.seed for item in items.values()]
    assert seeds == sorted(seeds)


@pytest.mark.parametrize("table", [TABLE1, TABLE2, TABLE3], ids=lambda table: table.name)
def test_some_order_finishes_the_plan(tmp_path: Path, table: TableSpec) -> None:
    items = planned(tmp_path, table, seeds=2)
    left = list(items.values())
    while left:
        ready = [item for item in left if is_ready(item)]
        assert ready, [item.name for item in left]
        finish(ready[0])
        left.remove(ready[0])


def test_a_fine_tune_waits_for_its_base(tmp_path: Path) -> None:
    items = planned(tmp_path, TABLE1, ["mart--faal-at"])
    assert set(items) == {"train-mart-seed-1", "train-mart--faal-at-seed-1", "judge-mart--faal-at-seed-1"}
    base, tune = items["train-mart-seed-1"], items["train-mart--faal-at-seed-1"]
    assert tune.run.start == base.run.folder
    assert is_ready(base)
    assert not is_ready(tune)
    finish(base)
    assert is_ready(tune)
    assert not is_ready(items["judge-mart--faal-at-seed-1"])
    assert next(iter(items)) == "train-mart-seed-1"


def test_what_others_wait_for_comes_first_and_audits_before_new_training(tmp_path: Path) -> None:
    names = list(planned(tmp_path, TABLE2))
    assert names[:2] == ["train-pgd-at-seed-1", "train-trades-seed-1"]
    trainings = [names.index(name) for name in names[2:] if name.startswith("train")]
    assert max(names.index(name) for name in names if name.startswith("judge")) < min(trainings)
    assert names[min(trainings)] == "train-wat-seed-1"  # nothing shortens it


def test_rows_fork_from_the_plain_run_where_they_begin_to_differ(tmp_path: Path) -> None:
    items = planned(tmp_path, TABLE2)
    plain = {"pgd-at": items["train-pgd-at-seed-1"], "trades": items["train-trades-seed-1"]}
    for name, base, epoch in (
        ("faal-at", "pgd-at", 100),
        ("faal-trades", "trades", 100),
        ("cfa-at", "pgd-at", 9),
        ("cfa-trades", "trades", 9),
    ):
        item = items[f"train-{name}-seed-1"]
        assert item.run.fork == (plain[base].run.folder / f"fork-{epoch:03d}.pt", epoch)
        assert epoch in plain[base].run.fork_epochs
        assert not is_ready(item)
    assert items["train-wat-seed-1"].run.fork is None
    assert plain["pgd-at"].run.fork_epochs == (9, 100)


def test_a_fork_is_ready_when_the_state_exists_or_never_will(tmp_path: Path) -> None:
    items = planned(tmp_path, TABLE2)
    base, fork = items["train-pgd-at-seed-1"], items["train-faal-at-seed-1"]
    for path in (*fork.ready_when[1:], fork.run.fork[0]):
        assert not is_ready(fork)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert is_ready(fork)
        path.unlink()
    assert base.output in fork.ready_when


def test_a_row_alone_waits_for_nothing_and_uses_an_existing_state(tmp_path: Path) -> None:
    item = planned(tmp_path, TABLE2, ["faal-at"])["train-faal-at-seed-1"]
    assert is_ready(item)
    assert item.run.fork is not None
    assert "train-pgd-at-seed-1" not in planned(tmp_path, TABLE2, ["faal-at"])


@pytest.mark.parametrize(
    ("settings", "forks"),
    [
        ({}, True),
        ({"average": "none"}, True),
        ({"weight_decay": 1e-4}, False),
        ({"beta": 3}, False),
        ({"tau": 0.5}, False),
        ({"smoothing": 0.5}, False),
        ({"select": "worst"}, False),
    ],
)
def test_what_a_fork_may_differ_in(settings: dict[str, object], forks: bool) -> None:
    row = Row(name="mine", label="Mine", method="faal-trades", settings=settings)
    table = TableSpec(name="t", title="", data="cifar10", model="prn18", attacks=("clean",),
                  rows=(*TABLE2.rows, row))  # fmt: skip
    found = fork_of(table, row, PAPER, "honest", TEN)
    assert found == ((TABLE2.row("trades"), 100) if forks else None)


def test_unequal_classes_weigh_from_the_first_epoch_and_nothing_is_forked() -> None:
    assert fork_of(TABLE2, TABLE2.row("faal-at"), PAPER, "honest", TEN - torch.arange(10)) is None


def test_fine_tunes_do_not_fork() -> None:
    assert all(fork_of(TABLE1, row, PAPER, "honest", TEN) is None for row in TABLE1.rows)


def test_a_run_saves_the_states_that_another_table_forks_from(tmp_path: Path) -> None:
    """At the small scale tables 1 and 2 share their bases: whichever is made first saves the states."""
    assert planned(tmp_path, TABLE1, scale=SMALL)["train-pgd-at-seed-1"].run.fork_epochs == (3,)
    assert planned(tmp_path, TABLE1)["train-pgd-at-seed-1"].run.fork_epochs == ()
    assert fork_epochs(TABLE1, SMALL, "honest", TEN) == fork_epochs(TABLE2, SMALL, "honest", TEN)


def test_tables_of_one_network_share_the_runs_but_not_the_records(tmp_path: Path) -> None:
    one, two = planned(tmp_path, TABLE1), planned(tmp_path, FIGURE2)
    for name, item in two.items():
        assert item.run == one[name].run
        assert (item.output == one[name].output) != item.is_audit


def test_a_published_base_is_audited_once_and_every_seed_starts_from_it(tmp_path: Path) -> None:
    published = {"trades": PublishedBase(file=tmp_path / "x.pt", normalize="none", sha256="ab")}
    items = planned(tmp_path, TABLE3, seeds=2, published=published)
    assert "judge-trades-given" in items
    assert sum(item.run.row.name == "trades" for item in items.values()) == 2
    assert items["train-trades-given"].run.published == published["trades"]
    assert items["train-trades-given"].run.fork_epochs == ()
    for seed in (1, 2):
        tune = items[f"train-trades--faal-at-seed-{seed}"]
        assert tune.run.start == items["train-trades-given"].run.folder
        assert items[f"train-faal-trades-seed-{seed}"].run.fork is None


def test_the_recipe_of_a_run_is_the_rows(tmp_path: Path) -> None:
    for item in planned(tmp_path, TABLE1, scale=SMALL).values():
        assert item.run.recipe == recipe_of(TABLE1, item.run.row, SMALL, "honest")
