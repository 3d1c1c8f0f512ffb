"""The command in the tests' own process, which saves the seconds of an import; `test_commands.py` and the tests of
`end_to_end` start it as users do."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from faal import checkpoint
from faal.cli.app import main
from faal.models import Architecture, build_model


class Said(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


Faal = Callable[..., Said]


@pytest.fixture
def faal(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Faal:
    """`faal ARGUMENTS` in an empty folder, on a wide terminal. Exceptions that it does not handle are raised."""

    def run(*arguments: str | Path) -> Said:
        capsys.readouterr()
        modules = set(sys.modules)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", ["faal", *map(str, arguments)])
            patch.setattr(sys, "path", [*sys.path])
            patch.setenv("COLUMNS", "400")
            patch.setenv("PYTHONSAFEPATH", "1")  # the command sets it; it must not reach the processes of other tests
            warnings.filterwarnings("ignore", "Cyclopts application invoked")  # the arguments are in sys.argv
            with pytest.raises(SystemExit) as ended:
                main()
        for name in set(sys.modules) - modules:  # a user's own network of the same name in another test
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == work:
                del sys.modules[name]
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return run


def arrays(folder: Path, **changed: object) -> Path:
    """A data set of three classes in an npz file, with some of its arrays replaced."""
    rng = np.random.default_rng(0)
    parts = {
        "x_train": rng.random((30, 8, 8), dtype=np.float32),
        "y_train": np.arange(30) % 3,
        "x_test": rng.random((9, 8, 8), dtype=np.float32),
        "y_test": np.arange(9) % 3,
    }
    np.savez(folder / "data.npz", **(parts | changed))
    return folder / "data.npz"


def network(folder: Path, classes: int = 10) -> Path:
    """An untrained checkpoint of this program."""
    architecture = Architecture(model="small", num_classes=classes, channels=1, width=4)
    state = {
        "architecture": {"model": "small", "num_classes": classes, "channels": 1, "width": 4},
        "classes": [str(c) for c in range(classes)],
        "weights": build_model(architecture, seed=1).state_dict(),
        "recipe": {"epsilon": 0.1},
    }
    checkpoint.save(folder / "net.pt", state)
    return folder / "net.pt"
