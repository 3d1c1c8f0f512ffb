"""Compiled networks, and CUDA graphs: GPU kernels that are captured in the first call and then launched together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faal.errors import InputError, first_line

Work = Callable[..., Sequence[Tensor]]
"""Tensors and numbers -> tensors, on one device, without control flow that depends on values."""

Runner = Callable[..., Sequence[Tensor]]
"""(work, inputs...) -> the outputs of the work."""

WARM_UPS = 3
"""Runs before a capture, in which libraries choose their kernels and allocate their memory."""


class Compiled(nn.Module):
    """A network compiled for batches of one size; batches of other sizes run uncompiled.

    So the smaller last batch of an epoch is not compiled. The attacked network, in evaluation mode and frozen, and the
    trained one have a graph each: frozen, because a compiled backward computes the gradients of all tensors that
    require one. An attack on the KL divergence or to the decision boundary has up to three more, for forward passes
    without a gradient or in full precision.

    Args:
        net: the network.
        size: images in a batch.
    """

    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net, self.size = net, size
        self.compiled = torch.compile(net, dynamic=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, C)."""
        if len(images) != self.size:
            logits: Tensor = self.net(images)
            return logits
        try:
            logits = self.compiled(images)
        except RuntimeError as failure:
            from torch._dynamo.exc import TorchDynamoException  # imported only by the first compilation

            if not isinstance(failure, TorchDynamoException):
                raise
            raise _failure_of("compile the network", failure) from failure
        return logits


def _failure_of(what: str, failure: Exception) -> InputError:
    return InputError(f"this machine cannot {what} ({first_line(failure)}); leave out --compile")


def directly(work: Work, *inputs: Any) -> Sequence[Tensor]:
    """`work(*inputs)`, without a CUDA graph."""
    return work(*inputs)


class Recorder:
    """Runs work on a GPU from a CUDA graph: one launch instead of thousands.

    The first call for inputs of some shapes captures the graph. Weights and buffers may change between calls in place,
    as by a step of the optimiser, but may not be moved in memory.
    """

    def __init__(self) -> None:
        self.pool: Any = None
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, list[Any], Sequence[Tensor]]] = {}

    def __call__(self, work: Work, *inputs: Any) -> Sequence[Tensor]:
        """`work(*inputs)`; the same work at every call with inputs of the same shapes and numbers."""
        key = tuple((i.shape, i.stride(), i.dtype) if isinstance(i, Tensor) else i for i in inputs)
        if key not in self.graphs:
            self.graphs[key] = self._capture(work, inputs)
        graph, static_inputs, results = self.graphs[key]
        for static, value in zip(static_inputs, inputs, strict=True):
            if isinstance(static, Tensor):
                static.copy_(value)
        graph.replay()
        return [result.clone() for result in results]

    def _capture(self, work: Work, inputs: Sequence[Any]) -> tuple[torch.cuda.CUDAGraph, list[Any], Sequence[Tensor]]:
        static_inputs = [i.detach().clone() if isinstance(i, Tensor) else i for i in inputs]
        warmup = torch.cuda.Stream()
        warmup.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warmup):
            for _ in range(WARM_UPS):
                work(*static_inputs)
        torch.cuda.current_stream().wait_stream(warmup)
        graph = torch.cuda.CUDAGraph()
        # All graphs share their memory: results are copied before the next replay. Operations of other threads, which
        # read the next batch in parallel, are not captured.
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                results = work(*static_inputs)
        except RuntimeError as failure:
            raise _failure_of("capture the attack as a CUDA graph", failure) from failure
        return graph, static_inputs, results
