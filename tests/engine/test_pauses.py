"""A signal ends a run after its step: the state is saved, and the same call continues as if nothing had been."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import toy_data
from tests.train.test_loop import records, run, same

from faal import checkpoint
from faal.config import Recipe
from faal.engine import interrupts, processes
from faal.engine.interrupts import Interrupted
from faal.engine.pauses import Pauses
from faal.train import loop, offsets

CPU = torch.device("cpu")
COUNTS = [200, 200]
"""So many that images are withheld to choose the epoch: four steps of an epoch, then an evaluation."""


@pytest.fixture
def long(recipe: Recipe) -> Recipe:
    return recipe.replace(
        {"batch_size": 100, "epochs": 3, "log_every": 1000, "average": "step", "smoothing": 0.5, "steps": 1},
        source="test",
    )


@pytest.fixture(autouse=True)
def taken() -> Iterator[None]:
    with interrupts.handled():
        yield


def interrupt(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, call: int) -> None:
    """SIGTERM within the `call`-th call of a function, counted from 0."""
    real, calls = getattr(where, name), iter(range(1000))

    def function(*arguments: Any, **more: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **more)

    monkeypatch.setattr(where, name, function)


def timeless(out: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in records(out)]


@pytest.mark.parametrize(
    ("name", "call", "kept"),
    [
        ("train_step", 0, "saved at epoch 0, step 1"),
        ("train_step", 3, "saved at epoch 0, step 4"),  # the last of an epoch, before its evaluation
        ("train_step", 5, "saved at epoch 1, step 2"),
        ("evaluate", 1, "saved at epoch 2, step 0"),
        ("evaluate", 2, "saved at epoch 3, step 0"),  # the last
    ],
)
def test_it_is_saved_and_continued_bit_for_bit(
    name: str, call: int, kept: str, long: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy_data(COUNTS)
    run(long, data, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, loop, name, call)
        with pytest.raises(Interrupted, match=f"^{kept}$"):
            run(long, data, tmp_path / "stopped")
    assert interrupts.status() == 143
    with interrupts.handled():  # another command
        run(long, data, tmp_path / "stopped")
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "stopped")
    for file in ("best.pt", "last.pt"):
        whole, stopped = (checkpoint.load(tmp_path / out / file) for out in ("whole", "stopped"))
        for state in (whole, stopped):
            state.get("training", {}).get("position", {}).pop("seconds", None)
            state.get("training", {}).get("position", {}).pop("log_bytes", None)
        assert same(whole, stopped)


def test_the_search_for_offsets_begins_again(long: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = long.replace({"offsets": True, "epochs": 1}, source="test")
    data = toy_data(COUNTS)
    with monkeypatch.context() as patch:
        interrupt(patch, offsets, "evaluate", 0)
        with pytest.raises(Interrupted, match=r"the network is saved, and the search for its offsets is restarted"):
            run(chosen, data, tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    with interrupts.handled():
        assert run(chosen, data, tmp_path).offsets is not None
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize(("device", "steps"), [("cpu", [True, True]), ("cuda", [False, True])])
def test_several_processes_agree(device: str, steps: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """On CPUs after every step, on GPUs where the log has been read: no step waits for its device."""
    sent: list[list[float]] = []

    def with_another(flags: torch.Tensor) -> tuple[torch.Tensor]:
        sent.append(flags.tolist())
        return (flags + torch.tensor([1.0, 0.0]),)  # the other process has a signal

    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes, "all_sum", with_another)
    make = torch.tensor
    monkeypatch.setattr(
        torch, "tensor", lambda values, **how: make(values, dtype=how["dtype"]) if how else make(values)
    )
    pauses = Pauses(0.0, torch.device(device))
    assert [pauses.after_step(was_read=was_read)[0] for was_read in (False, True)] == steps
    assert len(sent) == sum(steps)
    assert pauses.after_epoch()


def test_one_process_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(0.0, torch.device("cuda"))
    assert pauses.after_step(was_read=False) == (False, False)
    assert pauses.after_step(was_read=True) == (False, True)
    monkeypatch.setattr(interrupts, "requested", lambda: True)
    assert pauses.after_step(was_read=False) == (True, False)
