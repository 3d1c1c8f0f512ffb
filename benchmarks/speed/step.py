"""Time a training step: this program's, common public code's, a competent plain one, and ours without each speed-up.

    python -m benchmarks.speed.step --nets prn18:16 prn18 --threads 2

writes `benchmarks/results/step.json`. All implementations train the same network by FAAL-AT against PGD-10 on the same
batches of 128 noise images, one step each in turns, in a new order every round, after a warm-up. A net is a model's
name and, behind a colon, its width.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.speed.cost import STEP, VIEW
from benchmarks.speed.turns import in_turns, made_by, ratios, seconds, summary
from benchmarks.speed.ways import COMPETENT, COMPILED, FIELD, MEMORY, WITHOUT, Changed, Plain
from torch import nn

from faal import step as steps
from faal.checkpoint import write_atomically
from faal.config import Recipe, Schedule
from faal.data import Batch
from faal.engine.numerics import Numerics, multiplies_bf16, operations, pick_device
from faal.inner.norms import NORMS
from faal.models import Architecture, build_model
from faal.step import Learner
from faal.train.learner import learner_for

RESULTS = Path(__file__).parents[1] / "results" / "step.json"
CLASSES, SHAPE, TRAINING_SET = 10, (3, 32, 32), 50_000
SLOW = Schedule.constant(1e-6)
"""A learning rate at which training on noise hardly changes the network."""
CLOCK = time.perf_counter
MOVES = "step and projection, a part of phase 1"
OURS, FIELDS, PLAIN = "ours", "as the field writes it", "plain and competent"


def recipe_for(net: str, batch: int, attack_steps: int) -> Recipe:
    model, _, width = net.partition(":")
    return Recipe(
        method="faal-at",
        model=model,
        width=int(width) if width else None,
        batch_size=batch,
        steps=attack_steps,
        lr=SLOW,
    )


def batches_for(recipe: Recipe, device: torch.device) -> list[Batch]:
    made = torch.Generator().manual_seed(0)
    found = []
    for _ in range(2):
        images = torch.rand(recipe.batch_size, *SHAPE, generator=made).to(device, memory_format=torch.channels_last)
        labels = torch.randint(CLASSES, (recipe.batch_size,), generator=made).to(device)
        found.append(Batch(images, labels, labels, *2 * [torch.arange(recipe.batch_size, device=device)]))
    return found


def learner_of(recipe: Recipe, device: torch.device) -> Learner:
    """A new learner as the training loop makes it; the precision is chosen automatically unless the recipe sets one."""
    architecture = Architecture(model=recipe.model, num_classes=CLASSES, width=recipe.width)
    net = build_model(architecture, seed=0).to(device)
    numerics = Numerics.choose(recipe.precision, device, net, torch.zeros(1, *SHAPE, device=device))
    return learner_for(numerics.place(net).train(), recipe, torch.ones(CLASSES), seed=0, numerics=numerics)


def way_of(way: Plain | Changed, recipe: Recipe, device: torch.device) -> tuple[nn.Module, Callable[[Batch], None]]:
    """A network for an implementation, and the implementation's step on it."""
    if isinstance(way, Changed):
        changed = way.learner(learner_of(recipe.replace(way.settings, source="benchmarks/speed/step.py"), device))
        return changed.net, lambda batch: way.step(changed, batch)
    learner = learner_of(recipe, device)
    net = learner.net.to(memory_format=MEMORY[way.channels_last])  # type: ignore[call-overload]
    settings = {name: learner.optimizer.defaults[name] for name in ("lr", "momentum", "weight_decay")}
    optimizer = torch.optim.SGD(net.parameters(), **settings)
    return net, lambda batch: way.step(net, optimizer, batch, recipe, CLASSES)


@contextmanager
def timed_phases(spent: dict[str, float], device: torch.device) -> Iterator[None]:
    """In this context `spent` collects the seconds of phases 1 and 2, and within phase 1 of step and projection."""

    def timed(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any) -> Any:
            result: list[Any] = []
            spent[name] = spent.get(name, 0.0) + seconds(lambda: result.append(own(*arguments)), CLOCK, device)
            return result[0]

        return inner

    ball = NORMS["linf"]
    moves = replace(ball, step=timed(MOVES, ball.step), project=timed(MOVES, ball.project))
    with (
        patch.dict(NORMS, linf=moves),
        patch.object(steps, "find_adversarial", timed("phase 1", steps.find_adversarial)),
        patch.object(steps, "find_worst_distribution", timed("phase 2", steps.find_worst_distribution)),
    ):
        yield


def phases(step: Callable[[Batch], None], batches: list[Batch], rounds: int, device: torch.device) -> dict[str, float]:
    """The share of each phase in our step."""
    spent: dict[str, float] = {}
    with timed_phases(spent, device):
        total = sum(seconds(lambda: step(batches[turn % 2]), CLOCK, device) for turn in range(rounds))  # noqa: B023
    shares = {name: value / total for name, value in spent.items()}
    return shares | {"phase 3": 1 - shares["phase 1"] - shares["phase 2"]}


def product_rate(dtype: torch.dtype, device: torch.device, size: int = 2048) -> float:
    """Operations per second of the machine's own matrix product: the best of ten."""
    left, right = torch.rand(2, size, size, device=device).to(dtype)
    least = min(seconds(lambda: left @ right, CLOCK, device) for _ in range(10))
    return 2 * size**3 / least


def measured(net: str, arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    recipe = recipe_for(net, arguments.batch, arguments.attack_steps)
    batches, size = batches_for(recipe, device), arguments.batch
    named: dict[str, Plain | Changed] = {FIELDS: FIELD, PLAIN: COMPETENT, OURS: Changed()}
    named |= {f"without {name}": way for name, way in WITHOUT.items()}
    if arguments.compiled:
        named["ours, compiled"] = COMPILED
    ways = {name: way_of(way, recipe, device)[1] for name, way in named.items()}
    learner = learner_of(recipe, device)
    work = (STEP * recipe.steps + VIEW) * size * operations(copy.deepcopy(learner.net).eval(), batches[0].images[:1])

    def once(name: str, turn: int) -> float:
        return seconds(lambda: ways[name](batches[turn % len(batches)]), CLOCK, device)

    times = in_turns({name: partial(once, name) for name in ways}, arguments.warm_up, arguments.rounds)
    ours = times[OURS]
    rate = work / median(ours)
    # Without instructions for bfloat16 its products take minutes and are no measure of the machine.
    dtypes = [torch.bfloat16] * multiplies_bf16(device) + [torch.float32]
    products = {str(dtype).removeprefix("torch."): product_rate(dtype, device) for dtype in dtypes}
    return {
        "precision": learner.numerics.name,
        "batch": size,
        "attack steps": recipe.steps,
        "ways": {
            name: summary(spent) | {"seconds": spent, "images per second": size / median(spent)}
            for name, spent in times.items()
        },
        "ratios": {name: ratios(spent, ours) for name, spent in times.items() if name != OURS},
        "phases": phases(ways[OURS], batches, max(2, arguments.rounds // 2), device),
        "operations": work,
        "operations per second": rate,
        "matrix products per second": products,
        "fraction": rate / products["bfloat16" if learner.numerics.bf16 else "float32"],
        "epoch": TRAINING_SET / size * median(ours),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["prn18:16", "prn18"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--compiled", action="store_true", help="ours with compiled networks too; takes minutes to start"
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--attack-steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    result: dict[str, Any] = {
        **made_by(device),
        "threads": arguments.threads,
        "nets": {},
    }
    for net in arguments.nets:
        result["nets"][net] = measured(net, arguments, device)
        write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
        print(net, json.dumps({k: v for k, v in result["nets"][net].items() if k != "ways"}), flush=True)


if __name__ == "__main__":
    main()
