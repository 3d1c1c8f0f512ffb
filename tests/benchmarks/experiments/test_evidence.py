"""`evidence.yaml`, its runner and its collector: the plan as it is shipped, and a miniature on a toy."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.conftest import toy_data
from tests.helpers.benches import BENCHMARKS, script
from torch import nn

from faal.audit.records.verdicts import Verdicts

ARMS = ["base", "control", "faal", "faal-awp", "offsets", "faal-offsets"]
ROOT = BENCHMARKS.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
USUAL = "clean,pgd20x5,cw20x5"


@cache
def planned() -> Any:
    content = yaml.safe_load((BENCHMARKS / "experiments" / "evidence.yaml").read_text(encoding="utf-8"))
    return script("plan").Plan(content, "paper", "evidence.yaml")


def option(item: Any, name: str) -> str:
    return str(item.command[item.command.index(name) + 1])


class TestPlan:
    def test_every_setting_is_written_down(self) -> None:
        """Every recipe is shipped and takes its settings (else there is no plan), and commands name what is varied."""
        before: set[str] = set()
        for name, item in planned().items.items():
            assert set(item.needs) <= before
            assert item.stage in "ABC"
            assert item.operations > 0
            assert "EACH" not in item.command_line
            assert "SEED" not in item.command_line
            if item.command[0] != "audit":
                assert option(item, "--seed") == name.rpartition("-")[2]
                assert {"--epsilon", "--step-size"} <= set(item.command)
                assert "offsets" in name or {"--epochs", "--steps"} <= set(item.command)
            before.add(name)

    def test_stage_a(self) -> None:
        items = planned().items
        for seed in range(1, 6):
            for arm in ARMS:
                item = items[f"fashion-{arm}-{seed}.usual"]
                assert item.command_line.endswith(
                    f"--attacks {USUAL} --out OUT/fashion-{arm}-{seed}"
                )  # all test images
                below = {"base": (), "faal-offsets": (f"fashion-faal-{seed}",)}.get(arm, (f"fashion-base-{seed}",))
                assert items[f"fashion-{arm}-{seed}"].needs == below
        for arm in ("base", "control", "faal", "offsets"):
            assert "--limit" not in items[f"fashion-{arm}-1.autoattack"].command
            for seed in (2, 3):
                assert option(items[f"fashion-{arm}-{seed}.autoattack-2000"], "--limit") == "2000"
        taus = {float(option(i, "--tau")) for i in items.values() if "fashion-tau-" in i.name and "--tau" in i.command}
        assert len(taus | {float(option(items["fashion-faal-1"], "--tau"))}) == 8

    def test_stage_b(self) -> None:
        items = planned().items
        for net in ("resnet2b", "resnet4b"):
            assert option(items[f"{net}.usual"], "--epsilon") == "2/255"
            for seed in (1, 2, 3):
                assert {f"{net}-{arm}-{seed}.usual" for arm in ARMS[1:]} <= set(items)
                rates = [option(items[f"{net}-{arm}-{seed}"], "--lr") for arm in ("faal", "faal-fifth")]
                assert rates == ["0:0.01,1/2:0.001", "0:0.002,1/2:0.0002"]
            # The module is named on every command, normalisation where weights of others are read.
            own, foreign = items[f"{net}-faal-offsets-1"].command, items[f"{net}-faal-1"].command
            assert f"nets:{net}" in own
            assert "--normalize" not in own
            assert {f"nets:{net}", "--normalize"} <= set(foreign)

    def test_audits_do_not_take_each_others_place(self) -> None:
        audits = [item for item in planned().items.values() if item.command[0] == "audit"]
        assert len({item.makes for item in audits}) == len(audits)

    def test_the_most_telling_comes_first(self) -> None:
        names = list(planned().items)
        order = [
            *(f"fashion-faal-offsets-{seed}.usual" for seed in range(1, 6)),
            "resnet2b-offsets-3.usual",
            "resnet4b-offsets-3.usual",
            "resnet2b.autoattack",
            "fashion-base-1.autoattack",
            "fashion-trades-faal-3.usual",
            "fashion-tau-2-2.usual",
            "fashion-mart-faal-3.usual",
            "cifar-faal-1",
        ]
        assert sorted(order, key=names.index) == order

    def test_a_and_b_take_about_forty_hours(self, capsys: pytest.CaptureFixture[str]) -> None:
        script("runs").main(
            ["--plan", str(BENCHMARKS / "experiments" / "evidence.yaml"), "--list", "--stage", "A", "B"]
        )
        lines = capsys.readouterr().out.splitlines()
        hours = [float(line.split()[4]) for line in lines if line.startswith("stage ")]
        assert len(hours) == 2
        assert 30 < sum(hours) < 50

    @pytest.mark.medium
    def test_stages_and_commands(self, capsys: pytest.CaptureFixture[str]) -> None:
        script("runs").main(["--plan", str(BENCHMARKS / "experiments" / "evidence.yaml"), "--dry-run", "--stage", "B"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("faal repair OUT/vnncomp-resnet2b.pth cifar10-prn18-pgd-at-repair --model nets:")
        assert not [line for line in lines if "fashion" in line]
        with pytest.raises(SystemExit):
            script("runs").main(["--plan", str(BENCHMARKS / "experiments" / "evidence.yaml"), "--list", "--stage", "D"])


def test_together_on_the_images_of_both() -> None:
    def verdicts(index: list[int], **predicted: list[int]) -> Verdicts:
        label = np.array(index) % 2
        arrays = {name: np.array(labels, np.int16) for name, labels in predicted.items()}
        return Verdicts(label=label, index=np.array(index), predicted=arrays)

    first = verdicts([0, 1, 2, 3, 4], clean=[0, 1, 0, 1, 0], pgd=[0, 1, 1, 1, 0])
    found = script("evidence").together(first, verdicts([1, 2, 4, 6], autoattack=[0, 0, 0, 0]), ["even", "odd"])
    assert found == {
        "average": pytest.approx(1 / 3), "worst": {"class": "odd", "value": 0.0}, "correct": [1, 0], "by class": [2, 1]
    }  # fmt: skip


@pytest.mark.medium
def test_no_two_runners_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor a runner beside a command that a killed one left: the lock is the command's too."""
    with open(tmp_path / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with script("runs").alone(tmp_path, time.monotonic()) as free:
            assert not free
    assert "waiting" in capsys.readouterr().out
    holding = (
        "import subprocess, sys, pathlib, time\n"
        "from benchmarks.experiments import runs\n"
        "with runs.alone(pathlib.Path(sys.argv[1]), None):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], close_fds=False)\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", holding, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as runner:
        assert runner.stdout is not None
        child = int(runner.stdout.readline())
        runner.kill()
        runner.wait()
    with script("runs").alone(tmp_path, time.monotonic()) as free:
        assert not free
    os.kill(child, signal.SIGKILL)
    with script("runs").alone(tmp_path, time.monotonic() + 10) as free:
        assert free


MINIATURE = """
threads: 1
data: {digits: {train: 600, test: 60, classes: 3, size: 8, channels: 1}}
attacks: {usual: "clean,pgd1", autoattack: "clean,cw2"}
rates: {small:4: 1.0e+9}
given:
  theirs: {file: theirs.pth, modules: [theirs.py], data: digits, forward: 1.0e+3, says: [--model, "theirs:net"],
           foreign: [--normalize, "0.5:0.5"], audited: [--epsilon, 2/255]}
scales: {paper: {any_data: true}}
items:
  - stage: A
    seeds: [1]
    do:
      - {train: base, recipe: digits-small-pgd-at, seeds: [SEED],
         settings: {width: 4, epochs: 20, steps: 1, select_attack: pgd1, lr: 0.01}}
      - {audit: ["*-SEED"]}
      - {audit: [base-1], attacks: autoattack, into: autoattack, limit: 30}
  - {stage: B, audit: [theirs]}
"""
THEIRS = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"


@pytest.mark.slow
def test_a_miniature_stopped_and_resumed(tmp_path: Path) -> None:
    parts: dict[str, Any] = {}
    data = toy_data([200] * 3)
    for name, split in {"train": data.train, "test": data.test}.items():
        assert split is not None
        parts |= {f"x_{name}": split.images.fetch(torch.arange(split.n)).numpy(), f"y_{name}": split.labels.numpy()}
    np.savez(tmp_path / "toy.npz", **parts)
    (tmp_path / "plan.yaml").write_text(MINIATURE)
    (tmp_path / "theirs.py").write_text(THEIRS)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).state_dict(), tmp_path / "theirs.pth")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.experiments.runs", "--plan", "plan.yaml", "--data", "npz:toy.npz",
               "--out", "out", "--given", "."]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT) as runner:
        until = time.monotonic() + 120
        while not (out / "base-1" / "last.pt").exists() and time.monotonic() < until:
            time.sleep(0.05)
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(60) == 1
    log = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    assert [(line["item"], line["status"]) for line in log] == [("base-1", "stopped")]

    evidence = [sys.executable, "-m", "benchmarks.experiments.evidence", "out", "--plan", "plan.yaml", "--to", "out/e"]
    subprocess.run(evidence, cwd=tmp_path, env=ENVIRONMENT, check=True)
    assert json.loads((out / "e").read_text())["finished"] == 0  # in the middle

    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True)
    log = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()][1:]
    logs = [path.read_text()[-500:] for path in (out / "logs").iterdir()]
    assert [line["status"] for line in log] == ["done"] * 4, logs
    subprocess.run(evidence, cwd=tmp_path, env=ENVIRONMENT, check=True)
    found = json.loads((out / "e").read_text())
    assert (found["items"], found["finished"]) == (4, 4)
    assert found["networks"]["base-1"]["processor seconds"] > 0
    assert found["networks"]["base-1"]["withheld"]
    base = found["audits"]["base-1.autoattack-30"]
    assert base["folder"] == "base-1/autoattack/first-30"
    assert (base["n"], sum(base["by class"])) == (30, 30)
    assert set(base["attacks"]) == {"clean", "cw2", "all", "everything"}
    assert set(found["audits"]["base-1.usual"]["attacks"]) == {"clean", "pgd1", "all"}
    assert found["audits"]["theirs.usual"]["threat"]["epsilon"] == pytest.approx(2 / 255)
