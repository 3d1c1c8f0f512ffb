"""The benchmarks as modules, for the tests of their arithmetic."""

import importlib
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    """The benchmark `NAME.py`, whichever of the folders of `benchmarks/` it is in."""
    (path,) = BENCHMARKS.rglob(f"{name}.py")
    return importlib.import_module(".".join(path.relative_to(BENCHMARKS.parent).with_suffix("").parts))
