"""The text of `docs/checked.md`, from `benchmarks/results/checked.json`."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "checked.json"
PAGE = ROOT / "docs" / "checked.md"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.checked --models DIR --cifar10 cifar10:DIR --mnist idx:DIR --work DIR"


def page() -> str:
    return ""
