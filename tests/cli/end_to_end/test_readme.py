"""The README's commands and code run unchanged, in its order, in an empty folder.

Commands that take a GPU or hours are shortened: where the README trains a network on CIFAR-10, the test adds options
that make it one epoch of a narrow one, on a small data set in the official layout; where it reproduces a table, the
scales are reduced, with all rows.
"""

import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

README = Path(__file__).parents[3] / "README.md"
SHORT = ["--epochs", "1", "--width", "4", "--steps", "1", "--batch-size", "40"]

SHRUNK = """
from dataclasses import replace

from faal.cli.app import main
from faal.study.reproduce.scales import SCALES

less = {"epochs": 1, "width": 4, "steps": 1, "batch_size": 300, "select_attack": "pgd1"}
for name, scale in SCALES.items():
    SCALES[name] = replace(scale, attacks=("clean", "pgd1"), limit=40, scratch={**scale.scratch, **less})
main()
"""

MYMODELS = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, num_classes))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands() -> list[list[str]]:
    return [shlex.split(line) for block in blocks("sh") for line in block.splitlines() if line.startswith("faal ")]


def desk(folder: Path) -> None:
    """Everything that the commands name: DIR with CIFAR-10 and with images, model.pth, mymodels.py."""
    rng = np.random.default_rng(0)
    base = folder / "DIR" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        batch = {b"data": rng.integers(0, 256, (40, 3072), dtype=np.uint8), b"labels": [k % 10 for k in range(40)]}
        (base / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    (base / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    for part in ("train", "test"):
        for name in ("mug", "cup", "jar"):
            (folder / "DIR" / part / name).mkdir(parents=True)
            for k in range(8):
                pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "DIR" / part / name / f"{k}.png")
    (folder / "mymodels.py").write_text(MYMODELS)
    torch.save({"1.weight": torch.randn(3, 432) / 20, "1.bias": torch.zeros(3)}, folder / "model.pth")


def run(command: list[str], folder: Path) -> None:
    """As a user runs it, but for what is shortened."""
    python = ["-m", *command]
    if command[1] == "train" and "cifar10:DIR" in command:
        python += SHORT
    if command[1] == "reproduce":
        python = ["-c", SHRUNK, *command[1:], "--workers", "1"]  # the shrunk scales are this process's
    done = subprocess.run(
        [sys.executable, *python],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"COLUMNS": "120"},
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_commands(tmp_path: Path) -> None:
    desk(tmp_path)
    found = [command for command in commands() if command[1] != "reproduce"]
    assert len(found) >= 10
    for command in found:
        run(command, tmp_path)
    assert (tmp_path / "before-and-after.html").stat().st_size > 10_000
    for folder in ("base", "repaired", "prn18-repaired", "mine"):
        assert (tmp_path / "runs" / folder / "audit.json").exists()
        assert (tmp_path / "runs" / folder / "report.html").exists()


@pytest.mark.slow
def test_reproductions(tmp_path: Path) -> None:
    desk(tmp_path)
    for command in (command for command in commands() if command[1] == "reproduce"):
        run(command, tmp_path)
    for made, rows in (("tiny-honest", 7), ("small-honest", 1)):
        page = (tmp_path / "reproduce" / made / "table2.md").read_text(encoding="utf-8")
        assert f"{rows} of 7 rows have all their seeds" in page


def test_code() -> None:
    logits = torch.randn(32, 10, requires_grad=True)
    for block in blocks("python"):
        exec(block, {"logits": logits, "labels": torch.arange(32) % 10})  # our own README
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
