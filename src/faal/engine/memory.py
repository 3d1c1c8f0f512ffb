"""A network whose forward is split into chunks of a few images, and the size of the chunks for which memory
suffices."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from faal.errors import InputError

Result = TypeVar("Result")

MAX_ACTIVATION_BYTES = 4 * 2**30
"""Bytes of activations per forward on a CPU, where a process that exceeds the memory is killed without a message; a GPU
raises an error, and the chunks are halved (`retry_on_oom`)."""


class ChunkedForward(nn.Module):
    """`model`, run on at most `limit` images at a time: the memory limit of an audit.

    An attack processes full blocks and draws its random numbers for full blocks; only the forward is split. Where a
    gradient is required, each chunk's activations are discarded and recomputed in the backward pass: one more forward
    per step. Verdicts may differ from the unsplit ones only where the device's arithmetic depends on the batch size, by
    rounding.

    Logits are converted to float32 (from bfloat16 where the forward runs under autocast): attacks need a single number
    type. `dtype` is the type of the network's logits, None before the first forward.
    """

    dtype: torch.dtype | None = None

    def __init__(self, model: nn.Module, limit: int) -> None:
        super().__init__()
        self.model = model
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) <= self.limit:
            return self._logits(images)
        chunks = torch.split(images, self.limit)
        if torch.is_grad_enabled() and images.requires_grad:
            return torch.cat([checkpoint(self._logits, chunk, use_reentrant=False) for chunk in chunks])
        return torch.cat([self._logits(chunk) for chunk in chunks])

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.clone())  # a network may write into what it is given
        # An output that is not a tensor of real, dense numbers is rejected by the clean pass.
        if (
            not isinstance(logits, Tensor)
            or logits.is_complex()
            or logits.is_quantized
            or logits.layout != torch.strided
        ):
            return logits
        self.dtype = logits.dtype
        return logits.float()


@torch.enable_grad()
def max_chunk(model: nn.Module, image: Tensor, most: int) -> int:
    """The number of images per forward whose activations fit `MAX_ACTIVATION_BYTES` on a CPU; on other devices `most`.

    Computed from the tensors that one image's forward saves for the backward pass, each storage once, without weights.

    Args:
        model: the network, in evaluation mode.
        image: (1, channels, H, W) on its device.
        most: an upper limit.
    """
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            saved[address] = tensor.untyped_storage().nbytes()
        return tensor

    if image.device.type != "cpu":
        return most
    try:
        with saved_tensors_hooks(record, lambda tensor: tensor):
            logits = model(image.detach().requires_grad_())  # while it exists, no storage address is reused
    except (RuntimeError, ValueError, AssertionError, TypeError):  # the clean pass raises the error
        return most
    del logits
    return max(1, min(most, MAX_ACTIVATION_BYTES // max(1, sum(saved.values()))))


def retry_on_oom(work: Callable[[], Result], *networks: nn.Module | None) -> Result:
    """The result of `work`, repeated with half as many images per forward when the device runs out of memory.

    Args:
        work: a computation that may be repeated from its start.
        networks: the networks that it runs; the limit of every `ChunkedForward` in them is halved.

    Raises:
        InputError: the device has not enough memory for one image.
    """
    chunked = {
        module for net in networks if net is not None for module in net.modules() if isinstance(module, ChunkedForward)
    }
    while True:
        try:
            return work()
        except torch.OutOfMemoryError:
            if all(module.limit == 1 for module in chunked):
                raise InputError(
                    "the device does not have enough memory for one image; use another one (--device), or a "
                    "smaller --size"
                ) from None
        for module in chunked:
            module.limit = max(1, module.limit // 2)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
