"""Time one forward of an attack, and its gradient, in each form of the network; and bound what any form can gain.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.questions --data cifar10:DIR --run RUN

writes `benchmarks/results/questions.json`: the forms that the fast engine of an audit was chosen from, and upper bounds
on the speed of any. Processor seconds, the forms in turns. The convolutions are the network's own, each one call of
PyTorch. The attack's own computations are timed with a constant in place of the network.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
import torch.nn.functional as F
from benchmarks.speed import turns
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from faal.audit.attacks.autoattack import ensemble
from faal.audit.attacks.backend import Fast
from faal.checkpoint import write_atomically
from faal.config import Threat
from faal.data import load_data
from faal.engine.determinism import preserve_rng, strict_float32
from faal.engine.environment import environment
from faal.models import open_model

RESULTS = Path(__file__).parents[1] / "results" / "questions.json"
CPU = torch.device("cpu")
Model = Callable[[Tensor], Tensor]
"""Images (B, channels, H, W) -> logits (B, C)."""
PLAIN = "plain: float32, row by row"


def in_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The processor seconds of each, round by round, after one round that is not counted."""

    def once(name: str, turn: int) -> float:
        return turns.seconds(works[name], time.process_time)

    return turns.in_turns({name: partial(once, name) for name in works}, 1, rounds)


def summary(times: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    ratios = {name: [b / own for b, own in zip(times[base], spent, strict=True)] for name, spent in times.items()}
    return {
        name: {"seconds": median(times[name]), "ratio": median(found), "least": min(found), "most": max(found)}
        for name, found in ratios.items()
    }


def in_bf16(net: nn.Module) -> Model:
    def forward(images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits: Tensor = net(images.contiguous(memory_format=torch.channels_last))
        return logits.float()

    return forward


@contextmanager
def products_in_bf16() -> Iterator[None]:
    """PyTorch's own switch: float32 tensors, products in bfloat16 inside oneDNN."""
    conv, product = torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = conv.fp32_precision, product.fp32_precision
    conv.fp32_precision = product.fp32_precision = "bf16"
    try:
        yield
    finally:
        conv.fp32_precision, product.fp32_precision = before


def forms_of(net: nn.Module, images: Tensor, compiled: bool) -> dict[str, Model]:
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folded = fuse(copy.deepcopy(net)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def switched(images: Tensor) -> Tensor:
        with products_in_bf16():
            logits: Tensor = last(images.contiguous(memory_format=torch.channels_last))
        return logits

    found: dict[str, Model] = {
        PLAIN: net,
        "float32, channels last": lambda images: last(images.contiguous(memory_format=torch.channels_last)),
        "the same, PyTorch set to multiply in bfloat16": switched,
        "bfloat16, channels last": in_bf16(last),
        "the same, overruled near the boundary: the fast engine": Fast(net, images),
        "bfloat16, BatchNorm folded where it follows a convolution": in_bf16(folded),
    }
    if compiled:
        found["bfloat16, compiled"] = in_bf16(cast(nn.Module, torch.compile(last, dynamic=False)))
    return found


def gradient(model: Model, images: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(x).amax(dim=1).sum(), x)
    return found


# --- bounds ----------------------------------------------------------------------------------------------------------


def layers_of(net: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, torch.Size]]:
    """The convolutions and the shape of each one's input."""
    found: list[tuple[nn.Conv2d, torch.Size]] = []
    hooks = [
        module.register_forward_hook(lambda conv, inputs, _: found.append((conv, inputs[0].shape)))
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()
    return found


def convolutions(net: nn.Module, images: Tensor, rounds: int) -> dict[str, Any]:
    """All convolutions of one forward, and of one backward for the images: seconds and operations per second."""
    works: dict[str, Callable[[], object]] = {}
    operations = 0.0
    layers = layers_of(net, images)
    for conv, shape in layers:
        height, width = (size // step for size, step in zip(shape[2:], conv.stride, strict=True))
        operations += 2.0 * shape[0] * conv.weight.numel() * height * width
    for name, dtype, memory in (
        ("float32, row by row", torch.float32, torch.contiguous_format),
        ("float32, channels last", torch.float32, torch.channels_last),
        ("bfloat16, channels last", torch.bfloat16, torch.channels_last),
    ):
        calls = []
        for conv, shape in layers:
            x = torch.rand(shape).to(dtype).contiguous(memory_format=memory)
            weight = conv.weight.detach().to(dtype).contiguous(memory_format=memory)
            calls.append((x, weight, conv.stride, conv.padding, F.conv2d(x, weight, None, conv.stride, conv.padding)))

        def forward(calls: list[Any] = calls) -> None:
            for x, weight, stride, padding, _ in calls:
                F.conv2d(x, weight, None, stride, padding)

        def backward(calls: list[Any] = calls) -> None:
            for x, weight, stride, padding, out in calls:
                torch.ops.aten.convolution_backward(
                    out, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, [True, False, False]
                )

        works |= {f"forward, {name}": forward, f"backward, {name}": backward}
    times = in_turns(works, rounds)
    return {name: {"seconds": median(spent), "rate": operations / median(spent)} for name, spent in times.items()}


class Constant(nn.Module):
    """A network at no cost: constant logits, and a gradient that is not zero."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        slope = images.flatten(1)[:, : self.logits.shape[1]]
        return self.logits[: len(images)] + 1e-9 * slope


def own_arithmetic(net: nn.Module, images: Tensor, labels: Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """The share of the attack's own computations in the plain call, per member of AutoAttack, with few iterations."""
    with torch.no_grad():
        logits = F.one_hot(labels, net(images).shape[1]) + 0.01 * torch.arange(float(net(images).shape[1]))
    works: dict[str, Callable[[], object]] = {}
    for name, model in (("plain", net), ("constant", Constant(logits))):
        auto = ensemble(model, threat=Threat(), seed=0, num_classes=logits.shape[1], device=CPU)
        auto.apgd_targeted.n_iter = auto.fab.n_iter = 10
        auto.apgd_targeted.n_target_classes = auto.fab.n_target_classes = 1
        auto.fab.targeted, auto.square.n_queries = True, 50
        for member, attack in (("APGD", auto.apgd_targeted), ("FAB", auto.fab), ("Square", auto.square)):
            works[f"{member}, {name}"] = partial(attack.perturb, images, labels)
    times = in_turns(works, rounds)
    return {
        member: {
            "seconds": median(times[f"{member}, plain"]),
            "own": median(times[f"{member}, constant"]) / median(times[f"{member}, plain"]),
        }
        for member in ("APGD", "FAB", "Square")
    }


# --- both cores ------------------------------------------------------------------------------------------------------


def looped(model: Model, images: Tensor, seconds: float) -> float:
    """Images per second, forward and gradient, in wall time."""
    gradient(model, images)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        gradient(model, images)
        count += len(images)
    return count / (time.perf_counter() - start)


def on_both_cores(arguments: argparse.Namespace) -> dict[str, float]:
    """Images per second: the plain network in one process of one and of two threads, the fast engine in two processes
    of one thread. Nothing else should run meanwhile."""

    def rate(form: str, threads: int, processes: int) -> float:
        command = [sys.executable, __file__, "--data", arguments.data, "--run", str(arguments.run), "--loop", form]
        command += ["--threads", str(threads), "--batch", str(arguments.batch)]
        environ = os.environ | {"OMP_NUM_THREADS": str(threads)}
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) for _ in range(processes)]
        return sum(float(process.communicate()[0].split()[-1]) for process in started)

    return {
        "plain, one thread": rate("plain", 1, 1),
        "plain, two threads": rate("plain", 2, 1),
        "fast, one process": rate("fast", 1, 1),
        "fast, two processes": rate("fast", 1, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as in `faal audit`")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--loop", choices=("plain", "fast"), help="only this form, as a part of the measurement")
    parser.add_argument("--seconds", type=float, default=10, help="of such a part")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load_data(arguments.data)
    assert data.test is not None
    net = open_model(arguments.run, data).net.eval().requires_grad_(False)
    pool = data.test.images.fetch(torch.arange(min(data.test.n, 4 * arguments.batch)))
    labels = data.test.labels[: len(pool)]
    with torch.no_grad():
        right = (net(pool).argmax(dim=1) == labels).nonzero().squeeze(1)[: arguments.batch]
    images, labels = pool[right], labels[right]
    if arguments.loop:
        with strict_float32(CPU):
            print(looped(net if arguments.loop == "plain" else Fast(net, images), images, arguments.seconds))
        return
    result: dict[str, Any] = {
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.speed.questions --data cifar10:DIR --run RUN "
        f"--batch {arguments.batch} --rounds {arguments.rounds}",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
        "batch": len(images),
        "rounds": arguments.rounds,
    }
    with strict_float32(CPU), preserve_rng():
        forms = forms_of(net, images, not arguments.no_compile)
        for kind, with_gradient in (("forward", False), ("forward and gradient", True)):
            works = {}
            for name, model in forms.items():
                works[name] = (lambda m=model: gradient(m, images)) if with_gradient else (lambda m=model: m(images))
            with nullcontext() if with_gradient else torch.no_grad():
                began = time.monotonic()
                for work in works.values():
                    work()
                if not with_gradient:
                    result["compile seconds"] = time.monotonic() - began
                result[kind] = summary(in_turns(works, arguments.rounds), PLAIN)
        result["convolutions"] = convolutions(net, images, arguments.rounds)
        result["own arithmetic"] = own_arithmetic(net, images, labels, max(3, arguments.rounds // 3))
    result["both cores"] = on_both_cores(arguments)
    write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps({k: v for k, v in result.items() if k != "environment"}, indent=1))


if __name__ == "__main__":
    main()
