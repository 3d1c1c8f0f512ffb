"""A model and images from outside this project, by the README's commands, compared with figures of independent code.

Seven unequal classes of 48 x 40 PNGs; a network of plain PyTorch, trained on images that are normalised outside it,
its weights saved from within a DataParallel.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

KINDS = ("bolt", "cam", "gasket", "nut", "pin", "shim", "washer")
TRAIN = (70, 60, 50, 40, 30, 24, 16)
TEST = (40, 34, 30, 26, 20, 16, 12)
HEIGHT, WIDTH = 48, 40
MEAN, STD = (0.31, 0.42, 0.53), (0.21, 0.24, 0.28)
NORMALIZE = "0.31,0.42,0.53:0.21,0.24,0.28"
EPSILON = 1 / 255

STRANGERS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, kinds):
        super().__init__()
        self.eyes = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.brain = nn.Linear(16 * 6 * 5, kinds)

    def forward(self, x):
        return self.brain(self.eyes(x).flatten(1))

def net():
    return Net(7)
"""


# --- the stranger's own code, without this project -------------------------------------------------------------------


def draw(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A bright bar whose direction and tint depend on the kind, with noise, so that not all are predicted correctly."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    angle = np.pi * kind / len(KINDS) + rng.normal(0, 0.12)
    across = (rows - HEIGHT / 2) * np.cos(angle) - (columns - WIDTH / 2) * np.sin(angle) + rng.normal(0, 4)
    bar = np.exp(-((across / 4) ** 2))[..., None] * (45 + 10 * np.cos(kind + np.arange(3)))
    image: np.ndarray = (100 + bar + rng.normal(0, 25, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
    return image


def photograph(folder: Path) -> None:
    rng = np.random.default_rng(5)
    for part, counts in (("train", TRAIN), ("test", TEST)):
        for kind, (name, count) in enumerate(zip(KINDS, counts, strict=True)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(kind, rng)).save(folder / part / name / f"{number:03d}.png")


def load(folder: Path) -> tuple[Tensor, Tensor]:
    """Pixels in [0, 1] and labels."""
    found = [(file, kind) for kind, name in enumerate(KINDS) for file in sorted((folder / name).glob("*.png"))]
    pixels = np.stack([np.asarray(Image.open(file), dtype=np.float32) for file, _ in found])
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2) / 255), torch.tensor([kind for _, kind in found])


def logits_of(net: nn.Module, x: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    logits: Tensor = net((x - mean) / std)
    return logits


def train(net: nn.Module, x: Tensor, y: Tensor) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    net.train()
    for _ in range(6):
        for batch in torch.randperm(len(x)).split(29):
            optimizer.zero_grad()
            F.cross_entropy(logits_of(net, x[batch]), y[batch]).backward()
            optimizer.step()
    net.eval()


def attacked(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The stranger's own PGD-20; any iterate's success counts. (N,) bool, whether robust."""
    x_adv, robust = (x + EPSILON * (2 * torch.rand_like(x) - 1)).clamp(0, 1), torch.ones(len(y), dtype=torch.bool)
    for _ in range(21):
        x_adv.requires_grad_()
        logits = logits_of(net, x_adv)
        robust &= logits.argmax(1) == y
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x_adv)
        x_adv = (x + (x_adv.detach() + EPSILON / 4 * gradient.sign() - x).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return robust


# --- the same through this project's commands -------------------------------------------------------------------------


def faal(folder: Path, line: str) -> str:
    """Run a command; returns what it printed to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "faal", *line.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def figures(folder: Path, attack: str) -> list[int]:
    """The number of correct predictions per class, from audit.json."""
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    classes = audit["attacks"][attack]["classes"]
    assert [entry["name"] for entry in classes] == list(KINDS)
    assert tuple(entry["n"] for entry in classes) == TEST
    return [entry["correct"] for entry in classes]


def per_class(correct: Tensor, y: Tensor) -> list[int]:
    return torch.bincount(y[correct], minlength=len(KINDS)).tolist()


@pytest.mark.slow
def test_from_the_readme_alone(tmp_path: Path) -> None:
    (tmp_path / "strangers.py").write_text(STRANGERS)
    photograph(tmp_path / "parts")
    torch.manual_seed(3)
    strangers: dict[str, Any] = {}
    exec(STRANGERS, strangers)
    net = strangers["net"]()
    train(net, *load(tmp_path / "parts" / "train"))
    torch.save({f"module.{name}": tensor for name, tensor in net.state_dict().items()}, tmp_path / "weights.pth")
    x, y = load(tmp_path / "parts" / "test")
    with torch.no_grad():
        clean = logits_of(net, x).argmax(1) == y
    robust = attacked(net, x, y)
    assert 0.6 < clean.float().mean() < 1  # some are misclassified

    options = f"--data folder:parts --model strangers:net --normalize {NORMALIZE}"
    attacks = "--attacks clean,pgd20,cw20 --epsilon 1/255"
    said = faal(tmp_path, f"audit weights.pth {options} {attacks} --out runs/theirs")
    assert "Stripped 'module.' from the names" in said
    audited = tmp_path / "runs" / "theirs"
    assert figures(audited, "clean") == per_class(clean, y)
    found = figures(audited, "pgd20")
    assert np.abs(np.subtract(found, per_class(robust, y))).max() <= 2  # another random start
    assert 40 < sum(found) < clean.sum() - 40
    assert (audited / "report.html").stat().st_size > 10_000

    short = "--epochs 1 --batch-size 32 --lr 0.003 --steps 3 --step-size 1/510 --crop 0 --flip false --epsilon 1/255"
    faal(tmp_path, f"repair weights.pth cifar10-prn18-faal-at-repair {options} {short} --out runs/mended")
    faal(tmp_path, f"audit runs/mended --data folder:parts --model strangers:net {attacks}")
    mended = tmp_path / "runs" / "mended"
    faal(tmp_path, "export runs/mended mended.pth --model strangers:net")
    net.load_state_dict(torch.load(tmp_path / "mended.pth", weights_only=True))
    with torch.no_grad():
        after = logits_of(net, x).argmax(1) == y
    assert figures(mended, "clean") == per_class(after, y)
    assert sum(figures(mended, "pgd20")) > sum(found)  # an epoch of adversarial training on a network without any
    assert (mended / "report.html").stat().st_size > 10_000
