"""A user's own function as a data set: `module:function`."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping

from faal.data.arrays import from_arrays
from faal.data.dataset import DataSet
from faal.errors import InputError


def importable(module: str) -> bool:
    """Whether there is such a module, or the package that it should be in."""
    _look_here()
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def read_function(module: str, function: str) -> DataSet:
    """What the function returns when it is called without arguments: a DataSet, or arrays by name as in an `.npz`.

    The module is looked for in the current folder too, as `python -m` would.
    """
    spec = f"{module}:{function}"
    _look_here()
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"cannot import {module} for {spec} ({_said(error)}); run from the folder that holds it, or install it"
        ) from error
    call = getattr(imported, function, None)
    if not callable(call):
        raise InputError(f"{module} ({imported.__file__}) has no function {function}; write {module}:NAME_OF_FUNCTION")
    try:
        data = call()
    except Exception as error:
        raise InputError(f"{spec} failed ({_said(error)}); it has to work when called without arguments") from error
    if isinstance(data, DataSet):
        return data
    if isinstance(data, Mapping):
        return from_arrays(data, spec, spec)
    raise InputError(
        f"{spec} returned {type(data).__name__}; return a faal.data.DataSet, or a dict of arrays with the names "
        "x_train, y_train, x_test, y_test"
    )


def _look_here() -> None:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
