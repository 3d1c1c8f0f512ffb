"""PyTorch's ordinary modes, whatever the caller's: gradients on, no inference mode, float32 as the default type."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from faal.errors import InputError, first_line


@contextmanager
def ordinary_modes() -> Iterator[None]:
    """The context in which attacks and training run; afterwards the caller's modes are restored.

    Evaluation loops are often in inference mode, which no gradient passes, and scripts set another default type for
    their own tensors.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(before)


def without_inference_tensors(net: nn.Module) -> nn.Module:
    """The network itself, or a copy of it where it has tensors that were made in inference mode.

    PyTorch admits these to no computation with gradients.

    Raises:
        InputError: it has such tensors, and cannot be copied.
    """
    if not any(tensor.is_inference() for tensor in _tensors(net)):
        return net
    try:
        copied = copy.deepcopy(net)
        for module in copied.modules():
            tables: tuple[Any, ...] = (module._parameters, module._buffers, vars(module))
            for table in tables:
                for name, value in table.items():
                    if isinstance(value, Tensor) and value.is_inference():
                        table[name] = value.clone()
    except Exception as error:  # a user's network may fail with any error
        raise InputError(
            f"the network was built in inference mode, whose tensors have no gradients, and cannot be copied "
            f"({first_line(error)}); build it outside torch.inference_mode"
        ) from error
    return copied


def _tensors(net: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors that are plain attributes."""
    yield from net.parameters()
    yield from net.buffers()
    for module in net.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))
