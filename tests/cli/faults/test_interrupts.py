"""Ctrl-C and SIGTERM: the last sentence of each command is what is kept, and the same command continues."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tests.cli.conftest import Faal, network
from tests.conftest import toy_data

import faal as package
from faal.audit import blocks
from faal.cli import app
from faal.errors import InputError
from faal.study import frontier
from faal.train import loop

SHORT = ("--epochs", "2", "--steps", "1", "--batch-size", "200", "--select-attack", "pgd1", "--device", "cpu")


@pytest.fixture
def desk(work: Path) -> Path:
    """Data of three classes and an untrained network for it."""
    data, parts = toy_data([200] * 3), {}
    for name, split in {"train": data.train, "test": data.test}.items():
        assert split is not None
        parts |= {f"x_{name}": split.images.fetch(torch.arange(split.n)).numpy(), f"y_{name}": split.labels.numpy()}
    np.savez(work / "toy.npz", **parts, classes=np.array([str(c) for c in range(3)]))
    network(work, classes=3)
    return work


@pytest.fixture
def interrupted(faal: Faal, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The last line of a command that a signal interrupts within the `call`-th call of a function, counted from 0."""

    def run(*words: str, where: Any, name: str, call: int, number: signal.Signals = signal.SIGTERM) -> str:
        real, calls = getattr(where, name), iter(range(10_000))

        def function(*arguments: Any, **more: Any) -> Any:
            if next(calls) == call:
                os.kill(os.getpid(), number)
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(where, name, function)
            said = faal(*words)
        assert said.status == 128 + number, said
        return said.err.splitlines()[-1]

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_train(number: signal.Signals, desk: Path, faal: Faal, interrupted: Callable[..., str]) -> None:
    command = ("train", "debug", "--data", "npz:toy.npz", "--out", "run", *SHORT)
    said = interrupted(*command, where=loop, name="train_step", call=1, number=number)
    assert said == "faal: saved at epoch 0, step 2; the same command continues"
    assert (desk / "run" / "last.pt").exists()
    assert faal(*command).status == 0
    steps = [json.loads(line).get("step") for line in (desk / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [step for step in steps if step is not None] == list(range(6))


@pytest.mark.medium
def test_repair_and_its_blends(desk: Path, faal: Faal, interrupted: Callable[..., str]) -> None:
    command = ("repair", "net.pt", "debug", "--data", "npz:toy.npz", "--out", "run", "--frontier", *SHORT)
    said = interrupted(*command, where=frontier, name="evaluate", call=2)
    assert said == "faal: the repair and 2 of 5 blends are saved; the same command continues"
    assert not (desk / "run" / ".lock").exists()
    assert faal(*command).status == 0
    assert len(json.loads((desk / "run" / "frontier.json").read_text())["blends"]) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_audit(number: signal.Signals, desk: Path, faal: Faal, interrupted: Callable[..., str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """30 images in blocks of 250: one block of each attack."""
    command = ("audit", "net.pt", "--data", "npz:toy.npz", "--attacks", "pgd2,cw2,pgd3", "--epsilon", "0.1")
    command += ("--out", "run")
    said = interrupted(*command, where=blocks, name="judge_attack", call=2, number=number)
    assert said == "faal: 2 of 3 blocks are saved; the same command continues"
    kept = {path: path.stat().st_mtime_ns for path in (desk / "run" / "blocks").iterdir()}
    assert len(kept) == 2
    assert faal(*command).status == 0
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in (desk / "run" / "blocks").iterdir()}.items()


@pytest.mark.medium
def test_a_curve(desk: Path, faal: Faal, interrupted: Callable[..., str]) -> None:
    command = ("audit", "net.pt", "--data", "npz:toy.npz", "--attacks", "pgd2,cw2", "--epsilon", "0.1,0.2,0.3")
    command += ("--out", "run")
    said = interrupted(*command, where=blocks, name="judge_attack", call=3)
    assert said == "faal: 1 of 3 radii are finished; of the next, 1 of 2 blocks are saved; the same command continues"
    assert faal(*command).status == 0


def test_the_clean_pass_of_an_audit(desk: Path, faal: Faal, interrupted: Callable[..., str]) -> None:
    command = ("audit", "net.pt", "--data", "npz:toy.npz", "--attacks", "pgd2", "--epsilon", "0.1", "--out", "run")
    said = interrupted(*command, where=blocks, name="judge_clean", call=0)
    assert said == "faal: the clean pass begins again, finished blocks are kept; the same command continues"
    assert faal(*command).status == 0


@pytest.mark.parametrize("module", ["cyclopts", "rich", "torch"])
def test_within_an_import(module: str, tmp_path: Path) -> None:
    """Those of the command itself come before it can take signals."""
    (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(package.__file__).parents[1]}"}
    command = [sys.executable, "-m", "faal", "train", "debug", "--data", "digits"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "faal: stopped\n")


def test_a_refusal_that_another_process_reports_is_not_repeated(
    desk: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = InputError("the folder is locked")
    monkeypatch.setattr("faal.train.loop.train", Mock(side_effect=refusal))
    command = ("train", "debug", "--data", "npz:toy.npz", "--out", "run", *SHORT)
    said = faal(*command)
    assert (said.status, said.err.splitlines()[-1]) == (2, "faal: the folder is locked")
    refusal.shared = True
    assert faal(*command).err.splitlines()[-1] == "faal: the folder is locked"
    monkeypatch.setattr("faal.engine.processes.is_main", lambda: False)
    said = faal(*command)
    assert said.status == 2
    assert "locked" not in said.err


def test_a_terminal_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last sentence cannot be printed, and the status is the signal's."""
    closed = Mock(print=Mock(side_effect=OSError(5, "Input/output error")))
    monkeypatch.setattr(app, "app", Mock(side_effect=app.interrupts.Interrupted("saved")))
    monkeypatch.setattr(app.interrupts, "status", lambda: 129)
    assert app._run(closed) == 129


def test_before_anything_is_begun(desk: Path, interrupted: Callable[..., str]) -> None:
    said = interrupted("audit", "net.pt", "--data", "npz:toy.npz", where=np, name="load", call=0)
    assert said == "faal: stopped"
    assert not (desk / "runs").exists()


def test_an_error_since_another_process_of_the_group_has_ended(
    desk: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error of this one: it has had the signal too."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("faal.train.loop.train", broken)
    monkeypatch.setattr(app.interrupts, "requested", lambda: True)
    said = faal("train", "debug", "--data", "npz:toy.npz", "--out", "run", *SHORT)
    assert (said.status, said.err.splitlines()[-1]) == (130, "faal: stopped")
