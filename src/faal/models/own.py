"""A user's own network, named as `module:function`."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from faal.errors import InputError
from faal.models.number_types import require_float32
from faal.named import import_function


def own_model(reference: str, num_classes: int) -> nn.Module:
    """Imports a function and calls it for a network.

    Args:
        reference: `module:function`; the module is looked for in the current directory first, as `python -m` does.
            A class will do as well.
        num_classes: handed over as `num_classes=` if the function takes it.

    Raises:
        InputError: the module cannot be imported, lacks the function, the call fails, or returns no `nn.Module`,
            or one whose weights are not float32.
    """
    function = import_function(reference)
    try:
        model = function(num_classes=num_classes) if _takes(function, "num_classes") else function()
    except Exception as error:
        raise InputError(f"{reference} failed with {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{reference} returned a {type(model).__name__}, and must return a torch.nn.Module")
    require_float32(model, reference, "networks are float32 here, so let it return its network with .float()")
    return model


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return False
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return any(p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in named) for p in parameters)
