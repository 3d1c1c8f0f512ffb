"""Predict the time of a training step on many GPUs, from its computation and its messages; for `scaling.py`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from benchmarks.speed.cost import STEP, VIEW
from torch import nn

from faal.engine.gradients import BUCKET, FIRST_BUCKET
from faal.engine.numerics import operations
from faal.models import Architecture, build_model

CLASSES, SHAPE, BATCH, ATTACK_STEPS = 10, (3, 32, 32), 128, 10
FORWARDS = STEP * ATTACK_STEPS + VIEW
"""The forwards of a step."""
BACKWARD = VIEW - 1
"""Of these, phase 3's backward."""

FLOAT = 4
"""Bytes of a gradient."""


class Message(NamedTuple):
    """A message that all processes take part in."""

    kind: str
    """all_reduce, broadcast, or gradients (an all-reduce that is sent during the backward)."""
    bytes: int


class Link(NamedTuple):
    """The connection between neighbouring GPUs of a ring."""

    bandwidth: float
    """Bytes per second, in one direction."""
    latency: float
    """Seconds per hop, the mean over the ring."""


NVLINK = Link(0.8 * 450e9, 3.4e-6)
NETWORK = Link(0.8 * 50e9, 14e-6)
RINGS = {8: NVLINK, 64: Link(NETWORK.bandwidth, (16 * NETWORK.latency + 110 * NVLINK.latency) / 126)}
ASSUMED = {
    "8 GPUs": "one machine, NVLink of 450 GB/s in each direction, of which 80 % are reached",
    "64 GPUs": "eight such machines, one ring through all, paced by one network adapter of 400 Gb/s (50 GB/s, of which "
    "80 % are reached); NCCL may use eight adapters at once, which is not counted on",
    "latency": "3.4 us for a hop over NVLink and 14 us over the network, as in NCCL's own cost model of a ring; of the "
    "126 hops of an all-reduce over 64 GPUs 16 cross the network",
    "compute": "in proportion to the images of a GPU, which flatters small shares",
    "with overlap": f"gradients travel during phase 3's backward, which costs {BACKWARD} of the {FORWARDS} forwards of "
    f"a step with {ATTACK_STEPS} attack steps; nothing else is hidden",
}


def all_reduce_seconds(size: float, count: int, link: Link) -> float:
    """A ring's: each process sends 2 (P - 1) pieces of 1 / P of the message, one after the other."""
    return 2 * (count - 1) * (size / count / link.bandwidth + link.latency)


def broadcast_seconds(size: float, count: int, link: Link) -> float:
    """Along a chain, in pieces small enough that the last process receives while the first still sends."""
    return size / link.bandwidth + (count - 1) * link.latency if count > 1 else 0.0


SECONDS = {"all_reduce": all_reduce_seconds, "broadcast": broadcast_seconds}


def predicted(
    compute_seconds: float,
    parameters: int,
    messages: Sequence[Message],
    processes: int,
    bandwidth: float,
    latency: float,
    *,
    hiding: float = BACKWARD / FORWARDS,
) -> dict[str, float]:
    """Seconds of one step.

    Args:
        compute_seconds: what a process computes.
        parameters: of the network; their gradients, of 4 bytes each, are all-reduced in buckets.
        messages: the other messages, which the computation waits for.
        processes: the number of processes, in one ring.
        bandwidth: bytes per second from one to the next.
        latency: seconds per hop.
        hiding: the share of the computation during which gradients are sent: the backward of phase 3.

    Returns:
        `gradients` and `other messages` by themselves, the step `without overlap` and `with overlap`.
    """
    link, size = Link(bandwidth, latency), FLOAT * parameters
    further_buckets = -(-max(0, size - FIRST_BUCKET) // BUCKET)
    gradients = all_reduce_seconds(size, processes, link) + further_buckets * all_reduce_seconds(0, processes, link)
    others = sum(SECONDS[message.kind](message.bytes, processes, link) for message in messages)
    return {
        "gradients": gradients,
        "other messages": others,
        "without overlap": compute_seconds + others + gradients,
        "with overlap": compute_seconds + others + max(0.0, gradients - hiding * compute_seconds),
    }


def messages_of(net: nn.Module) -> list[Message]:
    """The messages of a FAAL-AT step besides the gradients: counts and margins of the classes; the buffers, by type."""
    sizes: dict[torch.dtype, int] = {}
    for buffer in net.buffers():
        sizes[buffer.dtype] = sizes.get(buffer.dtype, 0) + buffer.numel() * buffer.element_size()
    return [Message("all_reduce", 2 * CLASSES * FLOAT), *(Message("broadcast", size) for size in sizes.values())]


def computing(name: str, net: nn.Module, rate: float, step: Mapping[str, Any] | None) -> tuple[float, str]:
    """The seconds that one GPU computes for a batch, and their source."""
    if step and step["environment"]["device"] == "cpu":
        raise SystemExit(
            "--step needs a result of benchmarks/speed/step.py on a GPU, and this one was measured on a CPU"
        )
    found = step["nets"].get(name) if step else None
    if step and found:
        if (found["batch"], found["attack steps"]) != (BATCH, ATTACK_STEPS):
            raise SystemExit(
                f"{name} was measured with other batches or attacks than {BATCH} images and PGD-{ATTACK_STEPS}"
            )
        made = step["environment"]
        return found["ways"]["ours"]["median"], f"measured: {made['device']}, {made['commit']}"
    work = FORWARDS * BATCH * operations(net, torch.zeros(1, *SHAPE, device="meta"))
    return work / rate, f"not measured: {work:.3g} operations at an assumed {rate:.3g} per second"


def on_paper(name: str, *, rate: float, step: Mapping[str, Any] | None) -> dict[str, Any]:
    """Rows for one network on 1, 8 and 64 GPUs, which share a batch of 128 (strong) or have one each (weak).

    Args:
        name: of the model.
        rate: operations per second of a GPU that was not measured.
        step: a result of `benchmarks/speed/step.py` on a GPU; None without.
    """
    with torch.device("meta"):
        net = build_model(Architecture(model=name, num_classes=CLASSES)).eval()
    compute, source = computing(name, net, rate, step)
    parameters, messages = sum(weight.numel() for weight in net.parameters()), messages_of(net)
    rows = []
    for scaling in ("strong", "weak"):
        for count in (1, *RINGS):
            own, images = (compute / count, BATCH) if scaling == "strong" else (compute, BATCH * count)
            link = RINGS.get(count, NVLINK)
            found = predicted(own, parameters, messages, count, *link)
            rows.append(
                {
                    "scaling": scaling,
                    "GPUs": count,
                    "images per GPU": images / count,
                    "compute": own,
                    **found,
                    "images per second": images / found["with overlap"],
                    "efficiency": {key: own / found[key] for key in ("without overlap", "with overlap")},
                }
            )
    return {
        "parameters": parameters,
        "messages": [message._asdict() for message in messages],
        "compute": source,
        "rows": rows,
    }
