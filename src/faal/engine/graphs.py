"""Compiled networks, and work on a GPU that is recorded once and then launched as a whole."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faal.errors import InputError, first_line

Work = Callable[..., Sequence[Tensor]]
"""Tensors and numbers -> tensors, on one device, without a look at any value."""

Runner = Callable[..., Sequence[Tensor]]
"""(work, inputs...) -> what the work makes of them."""

WARM_UPS = 3
"""Runs before a recording, in which libraries choose their kernels and reserve their memory."""


class Compiled(nn.Module):
    """A network compiled for batches of one size; others go to the network as it is.

    So the smaller last batch of an epoch compiles nothing. The attacked network, in evaluation mode and frozen, and the
    trained one are a graph each: frozen, because a compiled backward computes the gradients of all that asks for one.
    An attack on the KL divergence or to the decision boundary has up to three more, for what it asks without a gradient
    or in full precision.

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
            answer: Tensor = self.net(images)
            return answer
        try:
            answer = self.compiled(images)
        except RuntimeError as failure:
            from torch._dynamo.exc import TorchDynamoException  # drawn in by the first compilation, not before

            if not isinstance(failure, TorchDynamoException):
                raise
            raise _unable("compile the network", failure) from failure
        return answer


def _unable(what: str, failure: Exception) -> InputError:
    return InputError(f"this machine cannot {what} ({first_line(failure)}); leave out --compile")


def directly(work: Work, *inputs: Any) -> Sequence[Tensor]:
    """`work(*inputs)`."""
    return work(*inputs)


class Recorder:
    """Runs work on a GPU from a recording, a CUDA graph: one launch instead of some thousand.

    The first call for inputs of some shapes records. Weights and buffers may change between calls as long as they stay
    where they lie, as a step of the optimiser leaves them.
    """

    def __init__(self) -> None:
        self.memory: Any = None
        self.recordings: dict[Any, tuple[torch.cuda.CUDAGraph, list[Any], Sequence[Tensor]]] = {}

    def __call__(self, work: Work, *inputs: Any) -> Sequence[Tensor]:
        """`work(*inputs)`; the same work at every call with inputs of the same shapes and numbers."""
        key = tuple((i.shape, i.stride(), i.dtype) if isinstance(i, Tensor) else i for i in inputs)
        if key not in self.recordings:
            self.recordings[key] = self._record(work, inputs)
        graph, places, results = self.recordings[key]
        for place, value in zip(places, inputs, strict=True):
            if isinstance(place, Tensor):
                place.copy_(value)
        graph.replay()
        return [result.clone() for result in results]

    def _record(self, work: Work, inputs: Sequence[Any]) -> tuple[torch.cuda.CUDAGraph, list[Any], Sequence[Tensor]]:
        places = [i.detach().clone() if isinstance(i, Tensor) else i for i in inputs]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                work(*places)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # All recordings share their memory: results are copied before the next is played. Other threads, which read the
        # next batch meanwhile, are none of the recording's business.
        self.memory = self.memory or torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=self.memory, capture_error_mode="thread_local"):
                results = work(*places)
        except RuntimeError as failure:
            raise _unable("record the attack", failure) from failure
        return graph, places, results
