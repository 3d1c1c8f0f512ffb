"""Checks of stored weights: number types that can be converted to the network's, and finite values."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from faal.errors import InputError

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""Floating-point types without a separate scale."""

GROUPS = (
    FLOATS,
    frozenset({torch.int32, torch.int64}),
    frozenset({torch.complex32, torch.complex64, torch.complex128}),
)
"""Types between which values are converted without change, except for rounding."""

OTHER_TYPES = FLOATS | {torch.int32, torch.int64, torch.bool}
"""Permitted types of tensors that the network does not have: weights, counters, indices, masks."""

COUNTER = "num_batches_tracked"
"""BatchNorm's counter of batches, which old checkpoints lack, others store as floats, and no forward pass uses."""


def number_type(tensor: Tensor) -> str:
    """The type of a tensor's numbers, such as `int8`, `qint8 (quantised)` or `float32 (sparse_coo)`."""
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return f"{name} (quantised)"
    if tensor.is_nested:
        return f"{name} (nested)"
    if tensor.is_meta:
        return f"{name} (without values)"
    return name if tensor.layout is torch.strided else f"{name} ({str(tensor.layout).removeprefix('torch.')})"


def require_types(expected: Mapping[str, object], found: Mapping[str, object], where: object) -> None:
    """Check that every stored tensor is dense and of a type that can be converted to that of the network's tensor.

    Integers instead of weights are quantised: their scales are stored elsewhere, or not at all, and without scales
    the values are wrong. float8 usually has scales too. So neither is converted.

    Args:
        expected: the network's tensors by name. A stored tensor that it lacks may be of any type in `OTHER_TYPES`.
        found: the stored tensors under the network's names.
        where: the file, for the error.

    Raises:
        InputError: a tensor is quantised, sparse, nested, without values, or of a type that does not fit.
    """
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor):
            continue
        target = expected.get(name)
        allowed = (
            OTHER_TYPES if name.endswith(COUNTER) or not isinstance(target, Tensor) else _convertible(target.dtype)
        )
        if _is_plain(tensor) and tensor.dtype in allowed:
            continue
        target_text = f", where the network has {number_type(target)}" if isinstance(target, Tensor) else ""
        raise InputError(f"{where} stores {name!r} as {number_type(tensor)}{target_text}; {_advice(tensor)}")


def require_finite(found: Mapping[str, object], where: object) -> None:
    """Check that all values of a file's tensors, by name, are finite. Raises InputError."""
    for name, tensor in found.items():
        if isinstance(tensor, Tensor) and not tensor.isfinite().all():
            raise InputError(f"{where} has values in {name!r} that are not finite: its training diverged")


def require_float32(net: nn.Module, subject: str, advice: str) -> None:
    """Check that a network's floating-point weights are float32. Raises InputError.

    Args:
        net: the network.
        subject: its name in the error.
        advice: the end of the message.
    """
    for name, parameter in net.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise InputError(f"{subject}'s {name} is {number_type(parameter)}; {advice}")


def _is_plain(tensor: Tensor) -> bool:
    return not (tensor.is_quantized or tensor.is_nested or tensor.is_meta) and tensor.layout is torch.strided


def _advice(tensor: Tensor) -> str:
    """Advice on what to save instead of a tensor."""
    if tensor.is_nested or (tensor.layout is not torch.strided and not tensor.is_meta):
        return "save it dense (tensor.to_dense())"
    if tensor.is_meta or tensor.is_complex():
        return "save the weights of this network themselves"
    return "scales of quantised weights are not applied here; save the floating-point weights before quantisation"


def _convertible(dtype: torch.dtype) -> frozenset[torch.dtype]:
    return next((group for group in GROUPS if dtype in group), frozenset({dtype}))
