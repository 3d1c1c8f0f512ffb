"""FAAL: robust fairness in image classification. Audit a classifier class by class, repair it, or train a fair one.

faal.solve_kldro(losses, tau)          the worst class distribution within a KL ball, solved exactly
faal.FAAL(num_classes, tau)            phase 2 in three lines of any training loop
faal.audit(model, images, labels)      class-wise robust accuracy with intervals
faal.offsets(model, images, labels)    constants per class that repair a classifier without training
faal.load_model(path)                  the network of a run, as an nn.Module
"""

import os
import sys


def _remove_current_folder() -> None:
    """For the command, as `python -m faal` or as the script `faal`: its imports do not come from the current folder.

    Python puts that folder first on the path under `-m`: it is removed, or moved to the end for a copy of the program
    in the folder itself. An empty entry of PYTHONPATH, as in `PYTHONPATH=/lib:`, means it too and is moved to the end;
    the processes that the command starts get a PYTHONPATH without it. This runs before any other import.
    """
    # While `-m` locates its module, sys.argv begins with "-m", and the module's name is the argument before the rest.
    module = sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].removeprefix("-m") in ("faal", "faal.__main__")
    script = os.path.basename("".join(sys.argv[:1])) in ("faal", "faal.exe")
    if module and not sys.flags.safe_path and sys.path[:1] == [here := os.getcwd()]:
        del sys.path[0]
        if os.path.dirname(os.path.dirname(os.path.realpath(__file__))) == here:
            sys.path.append(here)
    variable = os.environ.get("PYTHONPATH", "")  # Python ignores an empty one
    entries = variable.split(os.pathsep) if variable and not sys.flags.ignore_environment else []
    if (module or script) and "" in entries:
        named = [entry for entry in entries if entry]
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
        empty = {"", os.getcwd()} - {os.path.abspath(entry) for entry in named}  # a folder that is named remains
        sys.path.sort(key=empty.__contains__)  # stable


_remove_current_folder()

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from faal.errors import InputError  # noqa: E402

if TYPE_CHECKING:
    from faal.audit.run import audit
    from faal.intermediate.kldro import solve_kldro
    from faal.intermediate.rules.faal import FAAL
    from faal.models.load import load_model
    from faal.train.offsets import offsets

__version__ = "0.1.0"
__all__ = ["FAAL", "InputError", "__version__", "audit", "load_model", "offsets", "solve_kldro"]

_MODULES = {
    "FAAL": "faal.intermediate.rules.faal",
    "load_model": "faal.models.load",
    "offsets": "faal.train.offsets",
    "solve_kldro": "faal.intermediate.kldro",
}


def __getattr__(name: str) -> object:
    # Lazy, so that the page, the help and an import of one name load only what they use.
    if name == "audit":
        return import_module("faal.audit")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'faal' has no attribute {name!r}")
