"""The benchmarks as modules, for the tests of their arithmetic."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    """`benchmarks/NAME.py`: the same module that its neighbours take by that name; under a longer one where an
    installed package has the name (coverage)."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    own = str(BENCHMARKS / f"{name}.py")
    found = importlib.util.find_spec(name)
    if found is not None and found.origin == own:
        return importlib.import_module(name)
    longer = f"benchmark_{name}"
    if longer not in sys.modules:
        spec = importlib.util.spec_from_file_location(longer, own)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[longer] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[longer]
