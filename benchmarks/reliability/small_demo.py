"""`faal demo` of one epoch each, narrow networks and 260 test images, two blocks: minutes become seconds.

    python -m benchmarks.reliability.small_demo --out DIR

Its phases, workers and files are the demo's. The workers import this module too, and so have the same sizes.
"""

import sys
from dataclasses import replace

import torch

from faal.cli.app import main
from faal.config import Recipe, load_recipe
from faal.data import DataSet, load_data
from faal.study import demo

EPOCHS, WIDTH, IMAGES = 1, 4, 260


def _small_recipe(name: str) -> Recipe:
    return replace(load_recipe(name), epochs=EPOCHS, width=WIDTH)


def _small_data(name: str) -> DataSet:
    data = load_data(name)
    return replace(data, test=data.test and data.test.take(torch.arange(IMAGES)))


demo.load_recipe, demo.load_data = _small_recipe, _small_data  # type: ignore[assignment, attr-defined]

if __name__ == "__main__":
    sys.argv[1:1] = ["demo", "--seeds", "2", "--device", "cpu"]
    main()
