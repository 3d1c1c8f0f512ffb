"""A network that holds the activations of a few images at a time, whatever it is asked for; and how many those are."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from faal.errors import InputError

T = TypeVar("T")

ROOM = 4 * 2**30
"""Bytes of activations that a CPU is asked to hold. Its system ends a process that wants too much, without a word; a
GPU says so, and is asked for less (`retry_on_oom`)."""


class ChunkedForward(nn.Module):
    """`model`, run on at most `limit` images at once: the memory limit of an audit.

    An attack sees whole blocks and draws its random numbers for whole blocks; only the forward is split. Where a
    gradient is wanted, each piece's activations are dropped and computed again on the way back, one forward more per
    step. Verdicts may differ from the unsplit ones only as far as the device's arithmetic depends on the batch size:
    by rounding.

    Logits are float32, whatever the network returns (bfloat16 where its forward runs under autocast): attacks need one
    type of number throughout. `dtype` is the type of the network's own, None before the first forward.
    """

    dtype: torch.dtype | None = None

    def __init__(self, model: nn.Module, limit: int) -> None:
        super().__init__()
        self.model = model
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) <= self.limit:
            return self._logits(images)
        pieces = torch.split(images, self.limit)
        if torch.is_grad_enabled() and images.requires_grad:
            return torch.cat([checkpoint(self._logits, piece, use_reentrant=False) for piece in pieces])
        return torch.cat([self._logits(piece) for piece in pieces])

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        # What is no tensor of real, dense numbers is refused by the clean pass.
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
    """How many images at once a network on a CPU may be asked for a gradient of; on other devices `most`.

    Counted by what one image's forward keeps for the way back, each piece of memory once and weights not at all.

    Args:
        model: the network, in evaluation mode.
        image: (1, channels, H, W) on its device.
        most: what there is no use in exceeding.
    """
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            held[place] = tensor.untyped_storage().nbytes()
        return tensor

    if image.device.type != "cpu":
        return most
    try:
        with saved_tensors_hooks(note, lambda tensor: tensor):
            kept = model(image.detach().requires_grad_())  # while it lives, no place is taken twice
    except (RuntimeError, ValueError, AssertionError, TypeError):  # the clean pass says what is wrong
        return most
    del kept
    return max(1, min(most, ROOM // max(1, sum(held.values()))))


def retry_on_oom(work: Callable[[], T], *networks: nn.Module | None) -> T:
    """What `work` returns; where the device is full, once more with half as many images at a time.

    Args:
        work: what may be done again from its start.
        networks: those it asks; every `ChunkedForward` in them is halved.

    Raises:
        InputError: the device has no room for one image.
    """
    pieces = {part for net in networks if net is not None for part in net.modules() if isinstance(part, ChunkedForward)}
    while True:
        try:
            return work()
        except torch.OutOfMemoryError:
            if all(part.limit == 1 for part in pieces):
                raise InputError(
                    "the device has no room for one image at a time; audit on another one (--device), or a smaller "
                    "--size"
                ) from None
        for part in pieces:
            part.limit = max(1, part.limit // 2)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
