"""The gradients of a step over several processes: sent while the backward goes on, whatever parameters it reaches.

PyTorch's DistributedDataParallel either expects the same parameters in every step, and waits for ever where a process
leaves one out, or searches the graph of every step for those that are left out. Here the step itself ends the backward
(`Views.finish`): what has not been sent by then is sent with zeros in place of gradients that there are none of. A
network may leave out blocks at random, or begin to use them late, and no process waits for a message that never comes.
"""

from collections.abc import Iterable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from faal.engine import processes
from faal.errors import InputError

FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20
"""Bytes of the first message, which is to leave early, and of the others."""


class Views(nn.Module):
    """A network that is run on several inputs in one forward call, once per input.

    Clean and adversarial images are not concatenated: BatchNorm would then normalise both by their common statistics.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        # A network may write into what it is given; the images are used again.
        return tuple(self.net(images.clone()) for images in inputs)

    def finish(self) -> None:
        """To be called after every backward: gradients are then the means over the processes."""


class Averaged(Views):
    """`Views` whose gradients are averaged over the processes.

    Parameters are grouped into buckets, from the last to the first, as a backward reaches them. A bucket is sent as
    soon as it and those before it are full, so that all processes send the same in the same order; the last one, with
    which every process states the parameters that it has gradients of, and all that are not full, when the step ends
    the backward. How often the gradient of a parameter is added to (more than once where activations are computed
    again) is known after the first step, in which everything is sent at the end.

    A parameter without a gradient on any process keeps none, so that the optimiser passes over it as in one process.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self._weights = [weight for weight in net.parameters() if weight.requires_grad]
        self._buckets = _buckets(self._weights, reversed(range(len(self._weights))))
        self._expected: list[int] | None = None
        self._begin()
        for place, weight in enumerate(self._weights):
            weight.register_post_accumulate_grad_hook(partial(self._added, place))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        self._begin()
        return super().forward(*inputs)

    def finish(self) -> None:
        """Send what is left, and replace the gradients by their means.

        Reads values, for which the host waits for the device, only in the first step and where a parameter has no
        gradient here.
        """
        if not self._weights:
            return
        while len(self._sent) < len(self._buckets):
            self._send()
        means: dict[int, Tensor] = {}
        for bucket, (flat, work) in zip(self._buckets, self._sent, strict=True):
            work.wait()
            sizes = [self._weights[place].numel() for place in bucket]
            parts = flat[: sum(sizes)].split(sizes)
            means |= {p: part.view_as(self._weights[p]) for p, part in zip(bucket, parts, strict=True)}
        own = [place for place in means if self._weights[place].grad is not None]
        if own:
            torch._foreach_copy_([self._weights[p].grad for p in own], [means[p] for p in own])  # type: ignore[misc]
        if self._expected is None or len(own) < len(means):
            used = [count > 0 for count in self._sent[-1][0][-len(self._weights) :].tolist()]
            for place in means.keys() - own:
                weight = self._weights[place]
                if used[place]:
                    weight.grad = torch.empty_like(weight).copy_(means[place])
            if self._expected is None:
                self._expected = [max(1, count) for count in self._times]
                # A parameter that is never used would hold up all buckets after its own.
                self._buckets = _buckets(self._weights, sorted(means, key=lambda place: (not used[place], -place)))
        self._begin()

    def _begin(self) -> None:
        self._times = [0] * len(self._weights)
        self._sent: list[tuple[Tensor, dist.Work]] = []

    def _added(self, place: int, _: Tensor) -> None:
        """A gradient was added to a parameter's."""
        self._times[place] += 1
        if self._expected is None:
            return
        if any(place in bucket for bucket in self._buckets[: len(self._sent)]):
            raise InputError(
                "the network adds to a gradient oftener than in its first step, after it was sent to the other "
                "processes; train it in one process, or checkpoint activations with use_reentrant=False"
            )
        while len(self._sent) < len(self._buckets) - 1 and self._is_full(self._buckets[len(self._sent)]):
            self._send()

    def _is_full(self, bucket: list[int]) -> bool:
        assert self._expected is not None
        return all(self._times[place] >= self._expected[place] for place in bucket)

    @torch.no_grad()
    def _send(self) -> None:
        """Send the next bucket."""
        bucket = self._buckets[len(self._sent)]
        grads = [self._weights[place].grad for place in bucket]
        pairs = zip(bucket, grads, strict=True)
        parts = [(torch.zeros_like(self._weights[p]) if grad is None else grad).reshape(-1) for p, grad in pairs]
        if len(self._sent) == len(self._buckets) - 1:
            has = [float(weight.grad is not None) for weight in self._weights]
            parts.append(torch.tensor(has, dtype=parts[0].dtype).to(parts[0].device, non_blocking=True))
        flat = torch.cat(parts).div_(processes.world_size())
        work = dist.all_reduce(flat, async_op=True)
        assert work is not None
        self._sent.append((flat, work))


def _buckets(weights: list[nn.Parameter], order: Iterable[int]) -> list[list[int]]:
    """Places of the weights in the buckets, each of one type of number, in this order."""
    buckets: list[list[int]] = []
    size, kind = 0, None
    for place in order:
        weight = weights[place]
        limit = FIRST_BUCKET if len(buckets) == 1 else BUCKET
        if not buckets or size >= limit or kind != weight.dtype:
            buckets.append([])
            size, kind = 0, weight.dtype
        buckets[-1].append(place)
        size += weight.numel() * weight.element_size()
    return buckets


def parallel(net: nn.Module) -> Views:
    """`Views` of `net`, its gradients averaged over the processes where there are several."""
    return Views(net) if processes.world_size() == 1 else Averaged(net)
