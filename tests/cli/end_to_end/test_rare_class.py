"""Unequal classes, 100 : 20 : 8 training images: a sample has the weight w_c / pi_c, so the rare class is not
ignored."""

from pathlib import Path

import numpy as np
import pytest
import torch

from faal import checkpoint
from faal.audit import audit
from faal.config import Recipe, Schedule
from faal.data import DataSet, InMemory, Split, load_data
from faal.models import Architecture, build_model
from faal.train.loop import train

DIGITS = (3, 8, 9)
COUNTS = (100, 20, 8)
SEEDS = (1, 2, 3)
CPU = torch.device("cpu")
RECIPE = Recipe(
    model="small", width=8, epochs=20, batch_size=32, lr=Schedule((0.0, 0.5), (0.03, 0.003)), crop=0, flip=False,
    epsilon=0.1, step_size=0.025, steps=5,
)  # fmt: skip


def rare_digits(seed: int) -> DataSet:
    """Three similar digits: 100, 20 and 8 training images, 70 test images of each."""
    digits = load_data("digits")
    halves = [half for half in (digits.train, digits.test) if half]
    images = torch.cat([half.images.fetch(torch.arange(half.n)) for half in halves])
    labels = torch.cat([half.labels for half in halves])
    parts: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for digit, count in zip(DIGITS, COUNTS, strict=True):
        found = (labels == digit).nonzero().squeeze(1)
        found = found[torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))]
        parts[0].append(found[:count])
        parts[1].append(found[-70:])
    place = torch.full((10,), -1)
    place[torch.tensor(DIGITS)] = torch.arange(3)
    chosen = [torch.cat(part) for part in parts]
    train_split, test_split = (Split(InMemory(images[index]), place[labels[index]]) for index in chosen)
    return DataSet(name="rare digits", classes=("3", "8", "9"), train=train_split, test=test_split)


def robust_accuracy(method: str, seed: int, out: Path) -> np.ndarray:
    """Per class (3,), under PGD-20."""
    data = rare_digits(seed)
    architecture = Architecture(model="small", num_classes=3, channels=1, width=8)
    recipe = RECIPE.replace({"method": method}, source="test")
    net = build_model(architecture, seed=seed)
    train(net, architecture, data, recipe, out=out / f"{method}-{seed}", seed=seed, device=CPU, quiet=True)
    net.load_state_dict(checkpoint.load(out / f"{method}-{seed}" / "best.pt")["weights"])
    assert data.test is not None
    result = audit(net, data.test.images, data.test.labels, attacks="pgd20", epsilon=RECIPE.epsilon)
    return np.array([estimate.value for estimate in result.attacks["pgd20"].classes])


@pytest.mark.slow
def test_faal_lifts_the_rare_worst_class(tmp_path: Path) -> None:
    """Mean over three seeds: plain training fails the rarest class, FAAL lifts it by 10 points and more."""
    plain = np.mean([robust_accuracy("pgd-at", seed, tmp_path) for seed in SEEDS], axis=0)
    fair = np.mean([robust_accuracy("faal-at", seed, tmp_path) for seed in SEEDS], axis=0)
    assert plain.argmin() == 2
    assert fair[2] >= plain[2] + 0.1, (plain, fair)
    assert fair.min() >= plain.min() + 0.1, (plain, fair)
