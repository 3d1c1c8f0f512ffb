"""`benchmarks/experiments/runs.py`: the plan as it is shipped, and the runner on commands of a second and on a toy."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from benchmarks.speed.cost import forward_operations
from tests.conftest import toy_data
from tests.helpers.benches import BENCHMARKS, script

from faal.config import load_recipe
from faal.errors import InputError
from faal.models import Architecture


@pytest.fixture
def runs() -> Iterator[ModuleType]:
    """The runner; its own handlers of signals end with the test."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield script("runs")
    for number, handler in handlers.items():
        signal.signal(number, handler)


def written() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((BENCHMARKS / "experiments" / "runs.yaml").read_text(encoding="utf-8"))
    return content


@cache
def planned(scale: str = "paper") -> Any:
    """The shipped plan."""
    return script("plan").Plan(written(), scale)


class TestPlan:
    @pytest.mark.medium
    @pytest.mark.parametrize("scale", ["paper", "small", "toy"])
    def test_every_item_can_be_run(self, scale: str) -> None:
        """Every recipe is shipped and takes its settings, what an item needs comes before it, every price counts."""
        items = planned(scale).items
        listed: set[str] = set()
        for name, item in items.items():
            assert set(item.needs) <= listed
            assert item.operations > 0
            assert item.name == name
            assert "EACH" not in item.command_line
            assert "SCALE" not in item.command_line
            if item.command[0] in ("train", "repair"):
                recipe = item.command[2 if item.command[0] == "repair" else 1]
                load_recipe(recipe)
                assert recipe.startswith(item.data)
                assert recipe.endswith("-repair") == (item.command[0] == "repair")
                assert "--checkpoint-every 60" in item.command_line  # a short call gets further too
            for word in item.command:  # no place but those that are filled
                assert word == "DATA" or "DATA" not in word
                assert word.startswith("OUT/") == ("OUT" in word)
            assert "--engine" not in item.command
            listed.add(name)
        assert len(items) > 100

    def test_what_the_first_part_requires(self) -> None:
        items = planned().items
        wanted = ["prn18-control", "prn18-faal-at", "prn18-faal-at-awp"]
        for seed in (1, 2, 3):
            for name in wanted:
                assert items[f"{name}-{seed}"].needs == ("prn18-1",)
                assert "clean,pgd20,cw20" in items[f"{name}-{seed}.usual"].command
        judged = [name.removesuffix(".autoattack") for name in list(items)[:30] if name.endswith(".autoattack")]
        assert judged == ["prn18-1", "prn18-control-1", *(f"{n}-{s}" for n in wanted[1:] for s in (1, 2, 3))]
        # 60 epochs of 48,000 images at 23 forwards, and 2,000 evaluated under CW-10 after each.
        forward = forward_operations(Architecture(model="prn18", num_classes=10), 32)
        assert items["prn18-1"].operations == 60 * (48_000 * 23 + 2_000 * 22) * forward
        assert items["prn18-1.autoattack"].operations / 1e15 == pytest.approx(55, rel=0.03)

    def test_no_arm_of_the_search_sees_the_test_set(self) -> None:
        for name in planned().items:
            if name.startswith(("plus-", "tau-", "ball-", "margins-")):
                assert "." not in name.replace("0.", "")

    def test_scales_change_what_they_say(self) -> None:
        paper, small = (planned(scale).items for scale in ("paper", "small"))
        assert "--epochs 10" in small["prn18-1"].command_line
        assert "--width 16" in small["prn18-1"].command_line
        assert "--steps 7" in small["prn18-faal-at-1"].command_line
        assert "--width" not in small["prn18-faal-at-1"].command_line  # a repair's network is its base's
        assert "--limit 4000" in small["prn18-1.usual"].command_line
        assert not [name for name in small if "autoattack" in name or name.startswith("wrn")]
        assert small["prn18-1"].net == "prn18:16"
        assert paper["prn18-1"].operations > 80 * small["prn18-1"].operations

    def test_figures_cost_what_their_networks_cost(self) -> None:
        """Figure 3 at small scale: TRADES, CFA, WAT and FAAL for six epochs of 46,000 images at 17 forwards, 2,000 more
        evaluated under CW-10 each time and another 2,000 by WAT and CFA, and 2,000 audited."""
        item = planned("small").items["figure3"]
        forward = forward_operations(Architecture(model="prn18", num_classes=10, width=16), 32)
        audited = 2_000 * (1 + 0.85 * 2 * 41)
        least = 4 * (6 * (46_000 * 17 + 2_000 * 22) + audited)
        assert least <= item.operations / forward <= least + 2 * 6 * 2_000 * 25
        assert (
            item.command_line == "faal reproduce figure3 --scale small --data cifar10:DIR --seeds 1 --out OUT/reproduce"
        )

    def test_a_published_base_is_not_trained_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the zoo has what the plan would train, by the same recipe and seed, repairs and audits begin there."""
        plan = script("plan")
        recipe = load_recipe("cifar10-prn18-pgd-at").replace({"epochs": 60}, source="test").plain()
        card = {"recipe": recipe | {"checkpoint_every": 60.0}, "seed": 1}
        monkeypatch.setattr(plan, "zoo_names", lambda: ["prn18-pgd-at"])
        monkeypatch.setattr(plan, "read_card", lambda name: card)
        items = plan.Plan(written(), "paper").items
        assert "prn18-1" not in items
        assert items["prn18-faal-at-2"].command_line.startswith(
            "faal repair zoo:prn18-pgd-at cifar10-prn18-faal-at-repair "
        )
        assert items["prn18-faal-at-2"].needs == ()
        judged = items["prn18-1.autoattack"]
        assert (judged.needs, judged.command[1], judged.makes) == ((), "zoo:prn18-pgd-at", "prn18-1/audit.json")
        assert items["prn18-base-2-control-1"].needs == ("prn18-2",)
        for other in ({"recipe": recipe | {"epochs": 30}, "seed": 1}, {"recipe": recipe, "seed": 2}):
            monkeypatch.setattr(plan, "read_card", lambda name, other=other: other)
            assert plan.Plan(written(), "paper").items["prn18-faal-at-2"].needs == ("prn18-1",)

    def test_a_limit_has_a_folder_of_its_own(self) -> None:
        item = planned().items["wrn-1.autoattack-1000"]
        assert item.makes == "wrn-1/first-1000/audit.json"
        assert "--limit 1000 " in item.command_line + " "

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            (
                {"repair": "x", "of": "prn-1", "recipe": "cifar10-prn18-faal-at-repair", "seeds": [1]},
                "'prn-1'; did you",
            ),
            ({"audit": ["prn19-*"]}, "no network of the plan 'prn19-"),
            ({"train": "x", "recipe": "cifar10-prn18-fal-at", "seeds": [1]}, "no recipe 'cifar10-prn18-fal-at'"),
            ({"train": "x", "recipe": "cifar10-prn18-pgd-at", "seeds": [1], "settings": {"epoch": 1}}, "'epochs'"),
            ({"train": "prn18", "recipe": "cifar10-prn18-trades", "seeds": [1]}, "two items prn18-1 that differ"),
        ],
    )
    def test_a_plan_that_does_not_fit(self, changed: dict[str, Any], said: str) -> None:
        content = written()
        with pytest.raises(InputError, match=said):
            script("plan").Plan({**content, "items": [*content["items"][:1], changed]}, "paper")

    def test_a_choice_brings_what_it_needs(self) -> None:
        plan = planned()
        chosen = [item.name for item in plan.wanted(["prn18-faal-at-2.usual"])]
        assert chosen == ["prn18-1", "prn18-faal-at-2", "prn18-faal-at-2.usual"]
        assert len(plan.wanted([])) == len(plan.items)
        for others in ([], ["prn18-1*"]):
            with pytest.raises(InputError, match=r"'prn18-fal-at-2'.*'prn18-faal-at-2'"):
                plan.wanted([*others, "prn18-fal-at-2"])


FAKE = """
import pathlib, sys, time
name, makes = sys.argv[1:3]
if name == "slow":
    time.sleep(60)
if name == "broken":
    print("faal: the loss became nan")
    sys.exit(2)
pathlib.Path(makes).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(makes).write_text(name)
"""

TOGETHER = """
import os, pathlib, sys, time
name, makes = sys.argv[1:3]
order = pathlib.Path(makes).parents[1] / "order"
def note(word):
    with open(order, "a") as file:
        file.write(word + "\\n")
note("+" + name)
until = time.monotonic() + 30
while name in "ab" and not {"+a", "+b"} <= set(order.read_text().split()) and time.monotonic() < until:
    time.sleep(0.01)
note("-" + name)
pathlib.Path(makes).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(makes).write_text(name)
"""
"""The items a and b wait for each other."""


def fake(runs: ModuleType, name: str, *, does: str = "", needs: tuple[str, ...] = (), data: str = "cifar10") -> Any:
    """An item that is done in no time, or `does` something else."""
    return script("plan").PlanItem(
        name=name, command=(does or name, f"OUT/{name}/best.pt"), data=data, makes=f"{name}/best.pt", needs=needs,
        net="prn18", operations=6e14,
    )  # fmt: skip


@pytest.fixture
def out(runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(runs, "FAAL", [sys.executable, "-S", str(tmp_path / "fake.py")])
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def worked(runs: ModuleType, out: Path, items: list[Any], **options: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"budget": None, "device": "cpu", "commit": "abc"}
    data = {"cifar10": "cifar10:/data"}
    runs.work(items, data, out, **(settings | options))
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


class TestRunner:
    def test_what_is_done_is_not_done_again(self, runs: ModuleType, out: Path) -> None:
        items = [fake(runs, "a"), fake(runs, "b", needs=("a",))]
        log = worked(runs, out, items)
        assert [(r["item"], r["status"], r["command"]) for r in log] == [
            ("a", "done", "faal a OUT/a/best.pt"),
            ("b", "done", "faal b OUT/b/best.pt"),
        ]
        assert all(r["seconds"] > 0 and r["commit"] == "abc" for r in log)
        assert worked(runs, out, items) == log
        (out / "a" / "best.pt").unlink()  # what it made is gone
        assert [r["item"] for r in worked(runs, out, items)] == ["a", "b", "a"]
        other = fake(runs, "b", does="other")  # another command is another item
        assert [r["item"] for r in worked(runs, out, [other])][3:] == ["b"]

    def test_places_are_filled_and_nothing_else(self, runs: ModuleType, out: Path) -> None:
        (out.parent / "fake.py").write_text(FAKE + "print(*sys.argv[2:])")
        made = {"name": "a", "data": "cifar10", "makes": "a/best.pt", "needs": (), "net": "prn18", "operations": 1.0}
        item = script("plan").PlanItem(command=("a", "OUT/a/best.pt", "DATA", "noDATA", "in/OUT/a"), **made)
        assert runs.run(item, "cifar10:/mnt/OUT/DATA", out, None) == ("done", "")
        said = (out / "logs" / "a.log").read_text()
        assert said.split() == [f"{out}/a/best.pt", "cifar10:/mnt/OUT/DATA", "noDATA", "in/OUT/a"]
        assert item.command_line == "faal a OUT/a/best.pt cifar10:DIR noDATA in/OUT/a"

    def test_a_failure_is_recorded_and_passed_over(
        self, runs: ModuleType, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        items = [fake(runs, "broken"), fake(runs, "after", needs=("broken",)), fake(runs, "c", data="cifar100")]
        log = worked(runs, out, [*items, fake(runs, "d")])
        assert [(r["item"], r["status"]) for r in log] == [("broken", "failed"), ("d", "done")]
        assert log[0]["why"] == "faal: the loss became nan"
        said = capsys.readouterr().out
        assert "after: waits for broken" in said
        assert "c: waits for --data cifar100:DIR" in said
        assert [r["item"] for r in worked(runs, out, items)][2:] == ["broken"]  # the next call tries again

    def test_the_budget_cuts_and_the_next_call_goes_on(
        self, runs: ModuleType, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        items = [fake(runs, "slow"), fake(runs, "d")]
        log = worked(runs, out, items, budget=0.5)
        assert [(r["item"], r["status"]) for r in log] == [("slow", "stopped")]
        assert 0.5 <= log[0]["seconds"] < 30
        assert "the same call goes on" in capsys.readouterr().out
        (out.parent / "fake.py").write_text(FAKE.replace("60", "0"))
        assert [(r["item"], r["status"]) for r in worked(runs, out, items)][1:] == [("slow", "done"), ("d", "done")]

    def test_items_side_by_side(self, runs: ModuleType, out: Path) -> None:
        """The two that wait for nobody run at once; what needs one of them, or writes to its file, comes after it."""
        (out.parent / "fake.py").write_text(TOGETHER)
        items = [fake(runs, "a"), fake(runs, "after", needs=("a",)), fake(runs, "b")]
        again = replace(items[0], name="again", command=("again", "OUT/a/best.pt"))
        log = worked(runs, out, [*items, again], jobs=3)
        assert {r["item"]: r["status"] for r in log} == dict.fromkeys(("a", "b", "after", "again"), "done")
        assert all(r["jobs"] == 3 for r in log)
        order = (out / "order").read_text().split()
        assert set(order[:4]) == {"+a", "+b", "-a", "-b"}
        assert set(order[:2]) == {"+a", "+b"}

    def test_an_audit_leaves_its_figures(self, runs: ModuleType, tmp_path: Path) -> None:
        estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
        found = {"average": estimate, "worst": estimate | {"class": "cat"}, "balanced": estimate,
                 "classes": [{"name": "cat", "value": 0.5}, {"name": "dog", "value": None}]}  # fmt: skip
        audit = {"data": {"n": 7}, "engine": "fast", "attacks": {"clean": found}}
        (tmp_path / "audit.json").write_text(json.dumps(audit))
        assert runs.figures(tmp_path / "audit.json") == {
            "n": 7, "engine": "fast",
            "attacks": {"clean": {"average": estimate, "worst": found["worst"], "classes": [0.5, None]}},
        }  # fmt: skip

    def test_the_list_tells_prices_and_what_is_done(self, runs: ModuleType, out: Path) -> None:
        items = [fake(runs, "a"), fake(runs, "broken"), fake(runs, "later")]
        log = worked(runs, out, items[:2])
        lines = script("state").listing(items, out, {}, 2e14).splitlines()
        assert lines[1].split() == ["a", "0.600", "3.0", f"{log[0]['seconds']:.1f}", "done"]
        assert lines[2].split()[-1] == "failed"
        assert lines[3].split() == ["later", "0.600", "3.0", "open"]
        assert lines[4] == "3 items, 1.8 PFLOP, 6 seconds to go"

    def test_rates(self, runs: ModuleType, tmp_path: Path) -> None:
        """The given one, else that of the network, of its model, of any; measured elsewhere it says nothing."""
        state = script("state")
        nets = {"prn18:16": {"operations per second": 1.0}, "prn18": {"operations per second": 2.0}}
        (tmp_path / "step.json").write_text(json.dumps({"environment": {"device": "a GPU"}, "nets": nets}))
        rates = state.measured_rates(tmp_path / "step.json", "a GPU")
        assert rates == {"prn18:16": 1.0, "prn18": 2.0}
        assert state.measured_rates(tmp_path / "step.json", "cpu") == {}
        assert state.measured_rates(tmp_path / "none.json", "cpu") == {}
        item = fake(runs, "a")
        assert state.rate_of(item, rates, None) == 2.0
        assert state.rate_of(item, {"prn18:16": 1.0}, None) == 1.0
        assert state.rate_of(item, {}, None) == state.RATE
        assert state.rate_of(item, rates, 3.0) == 3.0


@pytest.mark.slow
def test_a_toy_from_the_base_to_the_audit(
    runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first base, a repair of it with its blends, and its audit, as the paper's are run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    parts: dict[str, Any] = {}
    data = toy_data([200] * 3, channels=3)
    for name, split in {"train": data.train, "test": data.test}.items():
        assert split is not None
        parts |= {f"x_{name}": split.images.fetch(torch.arange(split.n)).numpy(), f"y_{name}": split.labels.numpy()}
    np.savez(tmp_path / "toy.npz", **parts)
    given = ["--data", f"npz:{tmp_path / 'toy.npz'}", "--out", str(tmp_path / "out"), "--scale", "toy"]
    given += ["--only", "prn18-faal-at-1.usual"]
    runs.main(given)
    folder = tmp_path / "out" / "prn18-faal-at-1"
    logs = {path.name: path.read_text() for path in (tmp_path / "out" / "logs").iterdir()}
    log = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").read_text().splitlines()]
    assert [r["status"] for r in log] == ["done"] * 3, logs
    assert log[1]["command"].startswith("faal repair OUT/prn18-1 cifar10-prn18-faal-at-repair --data cifar10:DIR")
    assert {"best.pt", "frontier.json", "audit.json"} <= set(os.listdir(folder))
    assert set(json.loads((folder / "audit.json").read_text())["attacks"]) == {"clean", "pgd1", "all"}
    capsys.readouterr()
    runs.main([*given, "--list"])
    assert capsys.readouterr().out.count("  done") == 3
