"""The output of `faal train`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Faal


@pytest.mark.medium
def test_the_next_command_has_the_size(work: Path, faal: Faal) -> None:
    """It runs unchanged; without the size the images differ in shape, and at another size the audit remarks on it."""
    rng = np.random.default_rng(0)
    for part, name, count in (("train", "cat", 20), ("train", "dog", 20), ("test", "cat", 4), ("test", "dog", 4)):
        folder = work / "pets" / part / name
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (9 + i % 2, 12), dtype=np.uint8)).save(folder / f"{i}.png")
    said = faal("train", "debug", "--data", "folder:pets", "--size", "8,10", "--epochs", "1", "--out", "run")
    assert said.status == 0, said.err
    follows = said.out.rpartition("next: faal ")[2].split()
    assert follows == ["audit", "run", "--data", "folder:pets", "--size", "8,10"]
    quick = ("--attacks", "clean")
    done = faal(*follows, *quick)
    assert done.status == 0, done.err
    assert "pixels" not in done.err
    other = faal("audit", "run", "--data", "folder:pets", "--size", "10,10", "--out", "other", *quick)
    assert "8x10" in other.err
    assert "--size 8,10" in other.err
