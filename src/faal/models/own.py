"""A user's own network, named as `module:function`."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from torch import nn

from faal.errors import InputError


def own_model(reference: str, num_classes: int) -> nn.Module:
    """Imports a function and calls it for a network.

    Args:
        reference: `module:function`; the module is looked for in the current directory first, as `python -m` does.
            A class will do as well.
        num_classes: handed over as `num_classes=` if the function takes it.

    Raises:
        InputError: the module cannot be imported, lacks the function, the call fails, or returns no `nn.Module`.
    """
    function = import_function(reference)
    try:
        model = function(num_classes=num_classes) if _takes(function, "num_classes") else function()
    except Exception as error:
        raise InputError(f"{reference} failed with {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{reference} returned a {type(model).__name__}, and must return a torch.nn.Module")
    return model


def import_function(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names; the current directory is put on the path and stays there.

    Raises:
        InputError: the module cannot be imported, or lacks the function.
    """
    name, _, attribute = reference.partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a module that is imported may fail in any way
        raise InputError(
            f"cannot import {name!r} of {reference} ({type(error).__name__}: {error}); "
            "run where the module lies, or install it"
        ) from error
    function: object = getattr(module, attribute, None)
    if not callable(function):
        raise InputError(f"{module.__file__ or name} has no function {attribute!r}, which {reference} names")
    return function


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return False
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return any(p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in named) for p in parameters)
