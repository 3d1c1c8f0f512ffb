"""Import a user's function by its name, `module:function`: for a network or a data set."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from faal.errors import InputError


@contextmanager
def current_folder() -> Iterator[None]:
    """The context in which modules of the current folder can be imported, after all installed ones.

    Afterwards the path is as before: later imports, by this program or a library, do not search the folder.
    """
    folder = os.getcwd()
    if not {"", folder} & set(sys.path):
        sys.path.append(folder)
    try:
        yield
    finally:
        sys.path[:] = [entry for entry in sys.path if entry is not folder]


def import_function(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names. The name comes from the call itself, never from a file.

    Raises:
        InputError: the module cannot be imported, lacks the function, or has the same name as an installed module.
    """
    name, _, attribute = reference.partition(":")
    try:
        with current_folder():
            module = importlib.import_module(name)
    except Exception as error:  # an import may raise any error
        raise InputError(
            f"cannot import {name!r} for {reference} ({type(error).__name__}: {error}); "
            "run from its folder, or install it"
        ) from error
    top = name.partition(".")[0]
    if (other := _same_name(sys.modules.get(top, module), top)) is not None:
        raise InputError(
            f"{reference} is ambiguous: {top} is {other.name} of the current folder, and an installed module too; "
            "rename the one in the folder"
        )
    function: object = getattr(module, attribute, None)
    if not callable(function):
        raise InputError(f"{name} ({module.__file__}) has no function {attribute!r}; write {name}:NAME_OF_FUNCTION")
    return function


def _same_name(module: ModuleType, top: str) -> Path | None:
    """A file of the current folder with the name of a module that was imported from elsewhere; None for none."""
    file = getattr(module, "__file__", None)
    for candidate in (Path.cwd() / f"{top}.py", Path.cwd() / top / "__init__.py"):
        if candidate.is_file() and (file is None or not candidate.samefile(file)):
            return candidate
    return None
