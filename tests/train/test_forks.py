"""Forks: a run that begins from the plain method's equals one trained from its beginning, and others are rejected."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import toy_data
from tests.train.test_loop import records, same

from faal import checkpoint
from faal.config import Recipe
from faal.data import DataSet
from faal.errors import InputError
from faal.methods import METHODS, first_epoch
from faal.models import Architecture, build_model
from faal.train import loop
from faal.train.forks import fork_file
from faal.train.loop import train
from faal.train.outcome import Outcome

COUNTS = [200, 200]
TRAINED = torch.tensor([160, 160])
"""Where both parts are withheld."""


@pytest.fixture
def shared(recipe: Recipe) -> Recipe:
    """What the runs of a fork have in common."""
    return recipe.replace(
        {"epochs": 4, "batch_size": 80, "hold_out": "both", "select_attack": "cw2", "lr": "0:0.05,1/2:0.01"},
        source="test",
    )


FORKS = {
    "faal-at": (2, {"tau": "0:0,1/2:0.5", "average": "epoch", "average_decay": 0.5, "average_from": 0.75}),
    "faal-trades": (1, {"tau": "0:0,1/2:0.5", "average": "step", "average_from": 0.25}),
    "cfa-trades": (1, {"constants": "start=1/2", "average": "gated", "average_decay": 0.5}),
    "cfa-at": (2, {"constants": "start=3/4", "average": "gated", "average_gate": 0.05, "average_from": 0.5}),
    "dafa": (1, {"constants": "start=1/2"}),
    "faal-dafa": (1, {"constants": "start=1/2 clamped=0", "tau": "0:0,3/4:0.3"}),
    "faal-at-awp": (3, {"tau": "0:0,3/4:0.5"}),
}


def run(
    recipe: Recipe,
    out: Path,
    *,
    data: DataSet | None = None,
    seed: int = 1,
    keep: Iterable[int] = (),
    fork: Path | None = None,
) -> Outcome:
    data = data or toy_data(COUNTS)
    architecture = Architecture(model="small", num_classes=data.num_classes, channels=1, width=recipe.width)
    # A fork's weights come from its file, whatever the network begins with.
    net = build_model(architecture, seed=seed if fork is None else 99)
    return train(
        net, architecture, data, recipe, out=out, seed=seed, device=torch.device("cpu"), quiet=True, keep=keep,
        fork=fork,
    )  # fmt: skip


def log_of(out: Path) -> list[dict]:
    """The log but for the seconds."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in records(out)]


def assert_equal(one: Path, other: Path) -> None:
    """Everything that two runs leave behind."""
    ends = [checkpoint.load(out / "last.pt") for out in (one, other)]
    assert same(*(end["weights"] for end in ends))
    for part in ("net", "optimizer", "rule", "average"):
        assert same(*(end["training"][part] for end in ends)), part
    passing = {"log_bytes", "seconds"}
    places = [{k: v for k, v in end["training"]["position"].items() if k not in passing} for end in ends]
    assert places[0] == places[1]
    assert log_of(one) == log_of(other)
    best = [checkpoint.load(out / "best.pt") for out in (one, other)]
    assert same(best[0], best[1])


@pytest.mark.medium
@pytest.mark.parametrize("name", FORKS)
def test_a_forked_run_is_the_whole_run_bit_for_bit(name: str, shared: Recipe, tmp_path: Path) -> None:
    """Weights, optimiser, rule, average, log, chosen weights and chosen epoch."""
    first, settings = FORKS[name]
    recipe = shared.replace({"method": name, **settings}, source="test")
    plain = shared.replace({"method": METHODS[name].plain}, source="test")
    assert first_epoch(recipe, TRAINED) == first
    run(plain, tmp_path / "plain", keep=[first])
    whole = run(recipe, tmp_path / "whole")
    forked = run(recipe, tmp_path / "forked", fork=fork_file(tmp_path / "plain", first))
    assert_equal(tmp_path / "whole", tmp_path / "forked")
    assert whole == replace(forked, best=whole.best)
    # It did begin there, and does not end where the plain run does.
    rows = [row for row in records(tmp_path / "forked") if row["event"] == "epoch"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    kept = [row for row in records(tmp_path / "plain") if row.get("epoch", first) < first]
    assert records(tmp_path / "forked")[: len(kept)] == kept
    ends = [checkpoint.load(tmp_path / out / "last.pt")["training"]["net"] for out in ("plain", "forked")]
    assert not same(*ends)


def test_the_choice_from_before_the_fork_remains(
    shared: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no later epoch is better, the plain run's epoch is the forked run's, under its own recipe."""
    monkeypatch.setitem(loop.RULES, "sum", lambda accuracy: -float(len(list((tmp_path / "plain").glob("fork*")))))
    plain = shared.replace({"method": "pgd-at"}, source="test")
    recipe = shared.replace({"method": "faal-at", "tau": "0:0,1/2:0.5"}, source="test")
    run(plain, tmp_path / "plain", keep=[2])
    forked = run(recipe, tmp_path / "forked", fork=fork_file(tmp_path / "plain", 2))
    assert forked.epoch == 0
    best, plain_best = (checkpoint.load(tmp_path / out / "best.pt") for out in ("forked", "plain"))
    assert same(best["weights"], plain_best["weights"])
    assert (best["recipe"]["method"], best["epoch"]) == ("faal-at", 0)


def test_the_plain_run_is_none_the_worse(shared: Recipe, tmp_path: Path) -> None:
    plain = shared.replace({"method": "pgd-at"}, source="test")
    run(plain, tmp_path / "one")
    run(plain, tmp_path / "other", keep=[0, 1, 3])
    assert_equal(tmp_path / "one", tmp_path / "other")
    assert sorted(path.name for path in (tmp_path / "other").glob("fork-*")) == [
        "fork-000.pt", "fork-001.pt", "fork-003.pt",
    ]  # fmt: skip


class KilledError(Exception):
    """The end of the process."""


@pytest.mark.medium
@pytest.mark.parametrize("kill_at", [0, 2, 4, 7])
def test_a_killed_fork_goes_on(kill_at: int, shared: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its first step it begins from the fork again, later from its own checkpoint; epochs have four steps."""
    recipe = shared.replace({"method": "faal-at", "tau": "0:0,1/2:0.5", "checkpoint_every": 0}, source="test")
    plain = recipe.replace({"method": "pgd-at"}, source="test")
    run(plain, tmp_path / "plain", keep=[2])
    fork = fork_file(tmp_path / "plain", 2)
    run(recipe, tmp_path / "whole")
    real, steps = loop.train_step, iter(range(100))

    def dies(*arguments: object) -> object:
        if next(steps) == kill_at:
            raise KilledError
        return real(*arguments)

    monkeypatch.setattr(loop, "train_step", dies)
    with pytest.raises(KilledError):
        run(recipe, tmp_path / "forked", fork=fork)
    monkeypatch.setattr(loop, "train_step", real)
    run(recipe, tmp_path / "forked", fork=fork)
    assert_equal(tmp_path / "whole", tmp_path / "forked")


def test_a_run_that_has_begun_does_not_begin_again(shared: Recipe, tmp_path: Path) -> None:
    """Finished, it is not changed; the fork is not even read."""
    recipe = shared.replace({"method": "pgd-at", "epochs": 1}, source="test")
    run(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    run(recipe, tmp_path / "run", fork=tmp_path / "nowhere.pt")
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


class TestRefused:
    """In words, before anything of the new run is written but its description."""

    @pytest.fixture
    def own(self, shared: Recipe) -> Recipe:
        return shared.replace({"method": "faal-at", "tau": "0:0,1/2:0.5", "steps": 1, "epochs": 4}, source="test")

    def fork(self, recipe: Recipe, folder: Path, epoch: int = 1, **other: object) -> Path:
        """Kept at the beginning of an epoch, by a run that then stops."""
        run(recipe, folder, keep=[epoch], **other)  # type: ignore[arg-type]
        return fork_file(folder, epoch)

    def refused(self, recipe: Recipe, out: Path, fork: Path, message: str, **other: object) -> None:
        with pytest.raises(InputError, match=message) as caught:
            run(recipe, out, fork=fork, **other)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert str(fork) in str(caught.value)
        assert not {"last.pt", "best.pt", "metrics.jsonl"} & {path.name for path in out.iterdir()}

    def test_other_settings_seeds_and_data(self, own: Recipe, tmp_path: Path) -> None:
        plain = own.replace({"method": "pgd-at"}, source="test")
        fork = self.fork(plain, tmp_path / "plain")
        end = "; train this run from scratch$"
        changed = own.replace({"lr": 0.07, "crop": 0}, source="test")
        self.refused(changed, tmp_path / "a", fork, f"is of a run that differs in lr, crop{end}")
        self.refused(own, tmp_path / "b", fork, f"differs in seed{end}", seed=2)
        self.refused(own, tmp_path / "c", fork, f"differs in data{end}", data=toy_data([200, 201]))
        longer = own.replace({"epochs": 8}, source="test")
        self.refused(longer, tmp_path / "d", fork, f"differs in epochs{end}", seed=1)
        withheld = own.replace({"hold_out": "none"}, source="test")
        self.refused(withheld, tmp_path / "e", fork, f"differs in hold_out{end}")

    @pytest.mark.medium
    def test_another_method(self, own: Recipe, tmp_path: Path) -> None:
        """FAAL_AT begins as PGD-AT; TRADES and PGD-AT with AWP are other methods from the first step on."""
        for number, name in enumerate(("trades", "at-awp", "mart")):
            plain = own.replace({"method": name}, source="test")
            fork = self.fork(plain, tmp_path / name)
            self.refused(own, tmp_path / str(number), fork, rf"differs in method \({name}, not pgd-at\)")

    def test_an_epoch_in_which_the_method_acts_already(self, own: Recipe, tmp_path: Path) -> None:
        plain = own.replace({"method": "pgd-at"}, source="test")
        fork = self.fork(plain, tmp_path / "plain", epoch=3)
        self.refused(
            own,
            tmp_path / "a",
            fork,
            "differs in the class rule of faal-at from epoch 2 on, before the fork at epoch 3",
        )
        averaged = own.replace({"tau": "0:0,3/4:0.5", "average": "step"}, source="test")
        self.refused(averaged, tmp_path / "b", fork, "the class rule of faal-at from epoch 0 on")

    def test_a_run_that_acted_before_the_fork(self, own: Recipe, tmp_path: Path) -> None:
        """A run of FAAL may be forked while its tau is 0, not later."""
        fork = self.fork(own, tmp_path / "faal", epoch=3)
        later = own.replace({"tau": "0:0,3/4:0.5"}, source="test")
        self.refused(
            later, tmp_path / "a", fork, "the class rule of faal-at from epoch 2 on, before the fork at epoch 3"
        )

    def test_a_run_that_was_trained_on_other_images(self, own: Recipe, tmp_path: Path) -> None:
        """With hold_out select a method that steers withholds more than its plain one."""
        settings = {"hold_out": "select", "method": "pgd-at"}
        fork = self.fork(own.replace(settings, source="test"), tmp_path / "plain")
        steering = own.replace(
            settings | {"method": "cfa-at", "average": "gated", "constants": "start=1/2"}, source="test"
        )
        assert first_epoch(steering, TRAINED) == 1
        self.refused(steering, tmp_path / "a", fork, r"differs in the images withheld \(hold_out both")

    def test_what_is_no_fork(self, own: Recipe, tmp_path: Path) -> None:
        run(own, tmp_path / "run")
        for name in ("best.pt", "last.pt"):
            self.refused(own, tmp_path / name[:4], tmp_path / "run" / name, "does not contain a fork of a run")
        (tmp_path / "junk.pt").write_bytes(b"junk")
        self.refused(own, tmp_path / "a", tmp_path / "junk.pt", "junk.pt")


def test_equal_before_it_acts_a_fork_may_differ_in_what_acts_later(shared: Recipe, tmp_path: Path) -> None:
    """One run of FAAL at tau 0 is the beginning of others with another tau."""
    one = shared.replace({"method": "faal-at", "tau": "0:0,1/2:0.5"}, source="test")
    other = one.replace({"tau": "0:0,1/2:0.1"}, source="test")
    run(one, tmp_path / "one", keep=[2])
    run(other, tmp_path / "whole")
    run(other, tmp_path / "forked", fork=fork_file(tmp_path / "one", 2))
    assert_equal(tmp_path / "whole", tmp_path / "forked")
