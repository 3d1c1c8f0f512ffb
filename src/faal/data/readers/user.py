"""A data set from a user's function, `module:function`."""

import importlib.util
from collections.abc import Mapping

from faal.data.dataset import DataSet
from faal.data.readers.arrays import from_arrays
from faal.engine.ordinary import ordinary_modes
from faal.errors import InputError
from faal.named import current_folder, import_function


def importable(module: str) -> bool:
    """Whether the module, or its package, can be imported."""
    with current_folder():
        return importlib.util.find_spec(module.partition(".")[0]) is not None


def read_function(module: str, function: str) -> DataSet:
    """The data set that a function returns when it is called without arguments.

    The function returns a DataSet, or arrays by name as in an `.npz`. Its module is installed or in the current folder,
    which is on the path until the function returns.

    Raises:
        InputError: there is no such function, it fails, or it returns something else.
    """
    spec = f"{module}:{function}"
    with current_folder(), ordinary_modes():
        call = import_function(spec)
        try:
            data = call()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{spec} failed ({reason}); it must work when called without arguments") from error
    if isinstance(data, DataSet):
        return data
    if isinstance(data, Mapping):
        return from_arrays(data, spec, spec)
    raise InputError(
        f"{spec} returned {type(data).__name__}; return a faal.data.DataSet, or a dict of arrays with the names "
        "x_train, y_train, x_test, y_test"
    )
