"""Communication between processes.

Under `torchrun` the processes form a group (NCCL on GPUs, gloo on CPUs). For a single process every function here is
the identity, so that callers need not distinguish the two cases.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from faal.errors import InputError

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds within which all processes have to come to a work that they share (`meet`)."""

_is_alone: ContextVar[bool] = ContextVar("alone", default=False)
_meetings: list[Any] = [None, 0]
"""The group's store, and the number of its next meeting here."""


def start(device: torch.device) -> None:
    """Join the group that `torchrun` describes in the environment; without one, do nothing."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop() -> None:
    """Leave the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() and not _is_alone.get() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() and not _is_alone.get() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return rank() == 0


def own_part(count: int) -> int:
    """The number of `count` items assigned to this process; the first processes have one more if there is a
    remainder."""
    return count // world_size() + (rank() < count % world_size())


def all_sum(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The sums over the processes of float tensors of any shapes, in one all-reduce."""
    if world_size() == 1:
        return tensors
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return tuple(part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True))


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite `tensors` with those of the main process, in one message per dtype."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for group in by_dtype.values():
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in group])
        dist.broadcast(flat, src=0)
        for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            with torch.no_grad():
                tensor.copy_(part.view_as(tensor))


def gather_objects(item: Any) -> list[Any]:
    """Every process's `item`, in the order of the ranks, on every process. Small objects only."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def on_main(function: Callable[[], T]) -> T | None:
    """Call a function on the main process, while the others wait; its result there, None elsewhere.

    Raises:
        InputError: raised by the function; raised on every process, and `shared`.
    """
    result, failure = None, None
    if is_main():
        try:
            result = function()
        except InputError as error:
            failure = error
    if (failure := gather_objects(failure)[0]) is not None:
        failure.shared = world_size() > 1
        raise failure
    return result


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def alone() -> Iterator[None]:
    """The context in which this process is the only one: it neither waits for the others nor sends anything."""
    before = _is_alone.set(True)
    try:
        yield
    finally:
        _is_alone.reset(before)


def meet(what: str) -> None:
    """Wait until all processes call this, before a work whose messages would otherwise wait until the group's timeout.

    The processes count themselves in the store through which they found each other: a process that gives up is not
    waited for by one that comes later.

    Args:
        what: the work, for the message.

    Raises:
        InputError: some process has not come within `PATIENCE` seconds.
    """
    if world_size() == 1:
        return
    store = dist.distributed_c10d._get_default_store()
    if _meetings[0] is not store:
        _meetings[:] = store, 0
    while True:
        place = f"faal/{what}/{_meetings[1]}"
        _meetings[1] += 1
        if not store.check([f"{place}/decided"]):  # else it was given up, or was one of an earlier group
            break
    came, until = store.add(place, 1), time.monotonic() + PATIENCE
    while came < world_size() and time.monotonic() < until and not store.check([f"{place}/decided"]):
        time.sleep(0.01)
    decision = "met" if came == world_size() or store.check([f"{place}/decided"]) else "left"
    if store.compare_set(f"{place}/decided", "", decision) == b"left":
        raise InputError(
            f"{what} divides its work among the {world_size()} processes of the group, and not all of them have called "
            f"it within {PATIENCE:g} seconds; call it on all of them, or with local=True on this one"
        )


BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def synchronise(net: nn.Module) -> None:
    """Make BatchNorm normalise by the samples of all processes in training; no change for a single process.

    The layers are replaced by others with the same parameters and buffers under the same names: checkpoints are equal.

    Args:
        net: the network, on its device.

    Raises:
        InputError: there are several processes and no GPUs, or a layer is of a subclass of BatchNorm, whose
            additional operations (in some of timm's an activation) would be lost.
    """
    layers = {n: layer for n, layer in net.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
    if world_size() == 1 or not layers:
        return
    if next(net.parameters()).device.type == "cpu":
        raise InputError("sync_batchnorm works only on GPUs, a limit of PyTorch: set it to false on a CPU")
    for name, layer in layers.items():
        if type(layer) not in BATCHNORMS:
            raise InputError(
                f"sync_batchnorm cannot replace the layer {name}, a {type(layer).__name__}, which may do more than "
                "normalise: set it to false"
            )
    nn.SyncBatchNorm.convert_sync_batchnorm(net)
