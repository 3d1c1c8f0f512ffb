"""What all tests share: one thread each (they run side by side), and toy data."""

import os
import signal
from pathlib import Path

import pytest
import torch

from faal.config import Recipe, Schedule
from faal.data import DataSet, InMemory, Split
from faal.methods import METHODS

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)  # they would inherit that a shell's background job ignores it

TRAINED = [name for name, row in METHODS.items() if row.trains]
"""The methods that train a network, for the tests of training."""


def toy_split(counts: list[int], *, channels: int = 1, size: int = 8, seed: int = 0) -> Split:
    """Images of `len(counts)` classes that differ in the brightness of a patch; class c has counts[c] of them."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(len(labels), channels, size, size, generator=generator) * 100
    for index, label in enumerate(labels.tolist()):
        row, column = divmod(label * 7 % (size * size), size)
        images[index, :, row, column] += 155
    return Split(InMemory(images.to(torch.uint8)), labels)


def toy_data(counts: list[int], **shape: int) -> DataSet:
    """A data set of `toy_split`s; the test half has 10 images of each class."""
    return DataSet(
        name="toy",
        classes=tuple(f"class{c}" for c in range(len(counts))),
        train=toy_split(counts, **shape),
        test=toy_split([10] * len(counts), **shape, seed=1),
    )


@pytest.fixture
def recipe() -> Recipe:
    """Two epochs of almost nothing."""
    return Recipe(
        method="faal-at",
        model="small",
        width=4,
        epochs=2,
        batch_size=16,
        lr=Schedule.constant(0.05),
        crop=1,
        flip=False,
        epsilon=0.1,
        step_size=0.05,
        steps=2,
        log_every=2,
    )


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
