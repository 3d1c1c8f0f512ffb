"""Checks of the type of tensor arguments, on any device and without synchronisation."""

import torch
from torch import Tensor

from faal.errors import InputError, described


def dense(name: str, value: object, what: str, *, floats: bool = False, integers: bool = False) -> Tensor:
    """A dense tensor of real numbers. Its values are not read.

    Args:
        name: of the argument, for the message.
        value: what the caller passed.
        what: what it must be, such as "a float tensor of shape (..., C)".
        floats: whether it must have a floating-point type.
        integers: whether it must have an integer type.

    Raises:
        InputError: not a tensor; sparse, nested, quantised or complex; or of another type.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{name} must be {what}, not {described(value)}")
    strided = value.layout is torch.strided
    if value.is_nested or not strided or value.is_quantized or value.is_complex():
        kind = "nested" if value.is_nested else value.dtype if strided else value.layout
    elif (floats and not value.is_floating_point()) or (
        integers and (value.is_floating_point() or value.dtype == torch.bool)
    ):
        kind = value.dtype
    else:
        return value
    raise InputError(f"{name} must be {what}, not a tensor of {str(kind).removeprefix('torch.')}")


def require_unmasked(logits: Tensor, who: str) -> None:
    """Check that no logits (B, C) are minus infinity, as those of classes that a network masks.

    Raises:
        InputError: some are, and all others are finite.
    """
    masked = logits == -torch.inf
    if not masked.any() or not (masked | logits.isfinite()).all():
        return
    classes = masked.any(dim=0).nonzero().flatten().tolist()
    named = ", ".join(map(str, classes[:5])) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
    raise InputError(
        f"{who}'s logits of class {named} are minus infinity, as of a mask; losses and their gradients need finite "
        "numbers, so mask with a low finite one, such as masked_fill(mask, -1e4)"
    )


def valued(name: str, tensor: Tensor) -> Tensor:
    """A tensor that has values. Raises InputError for one on the device `meta`."""
    if tensor.is_meta:
        raise InputError(f"{name} has no values: it is on the device meta")
    return tensor
