"""Table 4: the time of an epoch, and the properties of the methods."""

import dataclasses
from pathlib import Path

import pytest
import torch

from faal.study.reproduce import paper
from faal.study.reproduce.run import reproduce
from faal.study.reproduce.scales import SCALES
from faal.study.reproduce.table4 import timing

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = dataclasses.replace(SCALES["tiny"], scratch={"width": 4, "steps": 1}, repair={"steps": 1})
    monkeypatch.setitem(SCALES, "tiny", tiny)
    monkeypatch.setattr(timing, "TURNS", 3)
    monkeypatch.setattr(timing, "WARM_UP", 1)


@pytest.mark.slow
def test_times_and_properties(tmp_path: Path) -> None:
    page = reproduce("table4", out=tmp_path, device=CPU).page
    assert page == tmp_path / "table4.md"
    costs, notes = timing.measure(SCALES["tiny"], "honest", CPU)
    assert [cost.label for cost in costs] == ["TRADES", "FRL-RWRM", "WAT", "CFA", "FAAL"]
    for cost in costs:
        assert cost.minutes.keys() == {"digits-small"}
        assert 0 < cost.minutes["digits-small"] < 1
        assert cost.paper == paper.TABLE4[cost.method]
        assert cost.label in page.read_text()
    assert any("noise" in note for note in notes)


@pytest.mark.medium
def test_an_epoch_is_its_steps_and_its_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that jumps: a step takes 2 seconds, but one of three 50; an evaluation takes 7."""
    now = [0.0]
    steps = iter([2.0, 50.0, 2.0] * 100)
    real_evaluate = timing.evaluate

    def step(*_: object) -> None:
        now[0] += next(steps)

    def evaluate(*arguments: object, **options: object) -> object:
        now[0] += 7.0
        return real_evaluate(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(timing, "train_step", step)
    monkeypatch.setattr(timing, "evaluate", evaluate)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    rows = {row.method: row for row in timing.ROWS}
    for method, evaluation in (("trades", 0), ("wat", 7), ("frl-rwrm", 7), ("cfa-trades", 7), ("faal-trades", 0)):
        timed = timing._TimedMethod.of(timing.TABLE2, rows[method], SCALES["tiny"], "honest", CPU)
        for _ in range(3):
            timed.step(counts=True)
        # 900 images, none withheld of so few a class, in batches of 32; the last four are a batch of their own.
        assert timed.epoch() == pytest.approx(29 * 2.0 + evaluation)


@pytest.mark.parametrize("name", ["digits", "cifar10", "cifar100"])
def test_noise_has_the_shape_of_the_data(name: str) -> None:
    data = timing.noise(name)
    sizes = {"digits": (900, 10, (1, 8, 8)), "cifar10": (50000, 10, (3, 32, 32)), "cifar100": (50000, 100, (3, 32, 32))}
    assert data.train is not None
    assert (data.train.n, data.num_classes, tuple(data.train.images.shape)) == sizes[name]
    assert len(data.train.counts(data.num_classes).unique()) == 1
