"""A user's own function by its name, `module:function`: a network, a data set."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from faal.errors import InputError


def look_here() -> None:
    """Let the current folder's modules be found, as `python -m` does; it stays on the path."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def import_function(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names.

    Raises:
        InputError: the module cannot be imported, or lacks the function.
    """
    name, _, attribute = reference.partition(":")
    look_here()
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a module that is imported may fail in any way
        raise InputError(
            f"cannot import {name!r} for {reference} ({type(error).__name__}: {error}); "
            "run from the folder that holds it, or install it"
        ) from error
    function: object = getattr(module, attribute, None)
    if not callable(function):
        raise InputError(f"{name} ({module.__file__}) has no function {attribute!r}; write {name}:NAME_OF_FUNCTION")
    return function
