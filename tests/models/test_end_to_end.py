"""Every network on images that are not square, nor of a power-of-two size, gray or colour, of two or more classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from faal.audit import audit
from faal.config import Recipe, Schedule
from faal.data.dataset import DataSet
from faal.data.readers.arrays import from_arrays
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.train.loop import train


def halves(classes: int, shape: tuple[int, int, int]) -> DataSet:
    """Noise, brighter in the class's share of the rows."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 20), ("test", 8)):
        labels = np.arange(count) % classes
        images = rng.integers(0, 120, (count, *shape), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, shape[1] * label // classes : shape[1] * (label + 1) // classes] += 120
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    return from_arrays(arrays, "halves", "halves")


@pytest.mark.parametrize(
    ("model", "width", "depth", "classes", "shape", "norm"),
    [
        ("small", 4, None, 2, (1, 48, 40), "linf"),
        ("small-gn", 4, None, 3, (3, 9, 31), "l2"),
        ("prn18", 2, 1, 2, (3, 40, 48), "l2"),
        ("rn18", 2, 1, 7, (1, 13, 24), "linf"),
        ("wrn10-1", None, None, 3, (1, 17, 12), "linf"),
    ],
)
def test_trained_opened_and_audited(
    model: str,
    width: int | None,
    depth: int | None,
    classes: int,
    shape: tuple[int, int, int],
    norm: str,
    tmp_path: Path,
) -> None:
    data = halves(classes, shape)
    recipe = Recipe(
        method="faal-at", model=model, width=width, depth=depth, epochs=1, batch_size=10, lr=Schedule.constant(0.01),
        norm=norm, epsilon=0.02, step_size=0.01, steps=1, crop=2,
    )  # fmt: skip
    architecture = Architecture.of(recipe, data)
    net = build_model(architecture, seed=0)
    train(net, architecture, data, recipe, out=tmp_path, seed=0, device=torch.device("cpu"), quiet=True)
    opened = open_model(tmp_path, data)
    assert opened.architecture.channels == shape[0]
    assert data.test is not None
    result = audit(opened.net, data.test.images, data.test.labels, attacks="pgd2,cw2", epsilon=0.02, norm=norm)
    assert result.verdicts.predicted["pgd2"].shape == (8,)
    assert len(result.attacks["clean"].classes) == classes


class OfOneSize(nn.Module):
    """Refuses other sizes as transformers and timm do, or with a bare assertion."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.linear = error, nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("Input image size (48*40) doesn't match model (32*32).\nResize it."),
            r"match model \(32\*32\)\.; if it is for colour, --rgb",
        ),
        (AssertionError(), "AssertionError; if it is for colour, --rgb"),
    ],
)
def test_a_network_of_another_size_is_refused_in_a_sentence(error: Exception, message: str, tmp_path: Path) -> None:
    data, net = halves(2, (1, 48, 40)), OfOneSize(error)
    assert data.test is not None
    with pytest.raises(InputError, match=rf"\(1, 48, 40\): .*{message}"):
        audit(net, data.test.images, data.test.labels, attacks="pgd2")
    recipe, architecture = Recipe(batch_size=10), Architecture(model="own:net", num_classes=2, channels=1)
    with pytest.raises(InputError, match=rf"\(1, 48, 40\): .*{message}"):
        train(net, architecture, data, recipe, out=tmp_path, seed=0, device=torch.device("cpu"), quiet=True)
