"""Time an attack's step and a training step in bfloat16 and in float32, over sizes of networks.

    python -m benchmarks.speed.precision

writes `benchmarks/results/precision.json`. Processor seconds of one thread, on noise images, in turns; and those of the
audit's fast engine for the same attack step. `engine.numerics.MIN_BF16_OPERATIONS` is set from them.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from benchmarks.speed.turns import in_turns, made_by, ratios, seconds
from torch import Tensor

from faal.audit.attacks import backend
from faal.checkpoint import write_atomically
from faal.config.choices import Precision
from faal.engine.determinism import strict_float32
from faal.engine.numerics import Numerics, multiplies_bf16, operations
from faal.inner.modes import attacked
from faal.models import Architecture, build_model

RESULTS = Path(__file__).parents[1] / "results" / "precision.json"
CPU = torch.device("cpu")
NETS = (("small", 16, 1, 8), ("small", 32, 1, 8), ("small", 8, 3, 32), ("prn18", 4, 3, 32), ("small", 16, 3, 32),
        ("prn18", 8, 3, 32), ("small", 32, 3, 32), ("prn18", 16, 3, 32))  # fmt: skip
"""Model, width, channels, pixels of a side; by operations."""
BATCH = 128
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")


def steps_of(architecture: Architecture, pixels: int, precision: Precision) -> dict[str, Callable[[], object]]:
    """An attack's step and a training step of one network."""
    images = torch.rand(BATCH, architecture.channels, pixels, pixels)
    labels = torch.arange(BATCH) % architecture.num_classes
    form = Numerics.choose(precision, CPU)
    net = form.place(build_model(architecture, seed=0)).train()
    images = images.contiguous(memory_format=form.memory)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9, fused=True)

    def attack() -> Tensor:
        x = images.detach().requires_grad_()
        with attacked(net), form.autocast():
            (gradient,) = torch.autograd.grad(F.cross_entropy(net(x).float(), labels), x)
        return gradient

    def train() -> None:
        with form.autocast():
            loss = F.cross_entropy(net(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return {"attack": attack, "train": train}


def audited(architecture: Architecture, pixels: int) -> Callable[[], object]:
    """The same attack step by an audit's fast engine."""
    net = build_model(architecture, seed=0).eval().requires_grad_(False)
    images = torch.rand(BATCH, architecture.channels, pixels, pixels)
    with strict_float32(CPU), patch.object(backend, "MIN_BF16_OPERATIONS", 0.0):
        fast = backend.Fast(net, images)

    def step() -> Tensor:
        x = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(fast(x).amax(dim=1).sum(), x)
        return gradient

    return step


def measured(architecture: Architecture, pixels: int, rounds: int) -> dict[str, Any]:
    made = {precision: steps_of(architecture, pixels, precision) for precision in PRECISIONS}
    works = {f"{kind}, {precision}": work for precision, kinds in made.items() for kind, work in kinds.items()}
    works["attack, audited"] = audited(architecture, pixels)

    def once(work: Callable[[], object]) -> Callable[[int], float]:
        return lambda turn: seconds(work, time.process_time)

    times = in_turns({name: once(work) for name, work in works.items()}, 2, rounds)
    net = build_model(architecture, seed=0).eval()
    return {
        "operations": operations(net, torch.zeros(1, architecture.channels, pixels, pixels)),
        "attack": ratios(times["attack, float32"], times["attack, bf16"]),
        "train": ratios(times["train, float32"], times["train, bf16"]),
        "audit": ratios(times["attack, float32"], times["attack, audited"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--nets", type=int, default=len(NETS), help="the first so many networks alone")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if not multiplies_bf16(CPU):
        parser.error("this machine has no instructions for bfloat16: it is faster at no size")
    torch.set_num_threads(1)
    result: dict[str, Any] = made_by(CPU) | {"rounds": arguments.rounds, "nets": {}}
    for model, width, channels, pixels in NETS[: arguments.nets]:
        architecture = Architecture(model=model, num_classes=10, channels=channels, width=width)
        name = f"{model} of width {width}, {pixels} x {pixels}"
        result["nets"][name] = measured(architecture, pixels, arguments.rounds)
        print(name, result["nets"][name], flush=True)
        write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
