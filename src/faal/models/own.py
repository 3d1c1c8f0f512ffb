"""A user's network, as `module:function`."""

import inspect
from collections.abc import Callable
from shlex import quote
from typing import Any

from torch import nn

from faal.engine.ordinary import ordinary_modes, without_inference_tensors
from faal.errors import InputError
from faal.models.libraries import LIBRARIES
from faal.models.number_types import require_float32
from faal.named import current_folder, import_function

FAMILY = "prn18"
"""The network of this program that has several forms, `prn18:FORM` (`architectures/preact_resnet.py`)."""


def is_form(model: str) -> bool:
    """Whether a network's name is `prn18:FORM`. A form's name has a hyphen, as no function's name has."""
    family, _, form = model.partition(":")
    return family == FAMILY and "-" in form


def is_foreign(model: str) -> bool:
    """Whether a network is another library's or a user's own, `NAME:...`: its size is its own, and it may be code."""
    return ":" in model and not is_form(model)


def is_own(model: str) -> bool:
    """Whether a network's name is `module:function`: code, which is imported only where the call itself names it."""
    return is_foreign(model) and model.partition(":")[0] not in LIBRARIES


def require_named(model: str, requested: str | None, source: str) -> None:
    """Reject a user's function that is named only in a file.

    Args:
        model: the name of the network that is to be built.
        requested: the name in the command or the call; None for none.
        source: the file, for the error.

    Raises:
        InputError: `model` is `module:function` and not `requested`; the message contains the option to add.
    """
    if is_own(model) and model != requested:
        raise InputError(
            f"{source} names the network {model}, which is code, and code that only a file names is not run; if you "
            f'trust it, add --model {quote(model)} (in Python model="{model}")'
        )


def own_model(reference: str, num_classes: int) -> nn.Module:
    """The network that a user's function returns.

    Args:
        reference: `module:function`; an installed module, or one in the current folder. A class is accepted too.
            The folder is on the path until the function returns, so that its imports are found there.
        num_classes: passed as `num_classes=` if the function has that parameter.

    Raises:
        InputError: the module cannot be imported, lacks the function, the call fails, or its result is not an
            `nn.Module`, or has weights that are not float32.
    """
    with current_folder(), ordinary_modes():
        function = import_function(reference)
        try:
            model = function(num_classes=num_classes) if _accepts(function, "num_classes") else function()
        except Exception as error:
            raise InputError(f"{reference} failed with {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{reference} returned a {type(model).__name__}, and must return a torch.nn.Module")
    model = without_inference_tensors(model)
    require_float32(model, reference, "networks must be float32: convert it with .float() before returning it")
    return model


def _accepts(function: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return False
    by_keyword = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return any(p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in by_keyword) for p in parameters)
