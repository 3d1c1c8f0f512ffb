"""A user's own function by its name, `module:function`: a network, a data set."""

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
    """The context in which modules of the current folder are found, after all that are installed.

    Afterwards the path is as before: what is imported later, by this program or a library, is not taken from there.
    """
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        yield
    finally:
        sys.path[:] = [entry for entry in sys.path if entry is not here]


def import_function(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names. The caller has it from the call itself, never from a file.

    Raises:
        InputError: the module cannot be imported, lacks the function, or shares its name with an installed one.
    """
    name, _, attribute = reference.partition(":")
    try:
        with current_folder():
            module = importlib.import_module(name)
    except Exception as error:  # a module that is imported may fail in any way
        raise InputError(
            f"cannot import {name!r} for {reference} ({type(error).__name__}: {error}); "
            "run from the folder that holds it, or install it"
        ) from error
    top = name.partition(".")[0]
    if (twin := _twin(sys.modules.get(top, module), top)) is not None:
        raise InputError(
            f"{reference} is ambiguous: {top} is {twin.name} of the current folder, and an installed module too; "
            "rename the one in the folder"
        )
    function: object = getattr(module, attribute, None)
    if not callable(function):
        raise InputError(f"{name} ({module.__file__}) has no function {attribute!r}; write {name}:NAME_OF_FUNCTION")
    return function


def _twin(module: ModuleType, top: str) -> Path | None:
    """What the current folder has under the name of a module that was imported from another place."""
    file = getattr(module, "__file__", None)
    for twin in (Path.cwd() / f"{top}.py", Path.cwd() / top / "__init__.py"):
        if twin.is_file() and (file is None or not twin.samefile(file)):
            return twin
    return None
