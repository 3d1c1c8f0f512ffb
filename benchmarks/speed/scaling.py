"""How training scales over processes: measured with one and two on this machine, predicted for 8 and 64 GPUs.

    python -m benchmarks.speed.scaling --precision float32 bf16

writes `benchmarks/results/scaling.json`.

Measured: FAAL-AT against PGD-10 on a narrow PreActResNet-18, a global batch of 128 noise images, by one process with
one thread, one with two, and two with one each (gloo), in turns, each step's wall time after a warm-up. The messages of
one of the two in a step are counted (kind and bytes), and the same messages are timed by themselves.

Predicted: PreActResNet-18 and WRN-34-10, from the seconds that one GPU computes for a batch, which are from a result of
`benchmarks/speed/step.py` on a GPU (`--step FILE`) or, where there is none, from the operations at an assumed rate.
Each row states which.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist
from benchmarks.speed.paper import ASSUMED, CLASSES, FLOAT, SHAPE, Message, on_paper
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from faal.checkpoint import write_atomically
from faal.config import Recipe, Schedule
from faal.config.choices import Precision
from faal.data import Batches, InMemory, Split
from faal.engine import processes
from faal.engine.environment import environment
from faal.engine.numerics import Numerics
from faal.models import Architecture, build_model
from faal.step import Learner, StepContext, train_step
from faal.train.learner import learner_for

RESULTS = Path(__file__).parents[1] / "results" / "scaling.json"
CPU = torch.device("cpu")
ONE, THREADS, PROCESSES = "1 process, 1 thread", "1 process, 2 threads", "2 processes, 1 thread each"
WAYS = {ONE: (1, 1), THREADS: (1, 2), PROCESSES: (2, 1)}
"""Name -> processes, threads of each."""
WARM_UP = 2
"""Steps after which gradients are sent while they are computed."""


class Settings(NamedTuple):
    width: int
    batch: int
    attack_steps: int
    precision: Precision
    steps: int
    rounds: int
    ways: tuple[str, ...]


def learner_and_batches(settings: Settings) -> tuple[Learner, Batches]:
    """This process's learner, and its batches of noise images that are the same in every process."""
    recipe = Recipe(
        method="faal-at",
        model="prn18",
        width=settings.width,
        batch_size=settings.batch,
        steps=settings.attack_steps,
        lr=Schedule.constant(1e-6),  # training on noise hardly changes the network
    )
    net = build_model(Architecture(model=recipe.model, num_classes=CLASSES, width=recipe.width), seed=0)
    numerics = Numerics.choose(settings.precision, CPU, net, torch.zeros(1, *SHAPE))
    counts = torch.ones(CLASSES)
    learner = learner_for(numerics.place(net).train(), recipe, counts, seed=0, numerics=numerics)
    made = torch.Generator().manual_seed(0)
    count = settings.batch * (WARM_UP + settings.steps)
    images = torch.randint(256, (count, *SHAPE), generator=made, dtype=torch.uint8)
    batches = Batches(
        Split(InMemory(images), torch.arange(count) % CLASSES),
        torch.arange(count),
        batch_size=recipe.batch_size,
        seed=0,
        crop=recipe.crop,
        flip=recipe.flip,
        device=CPU,
        memory=numerics.memory,
        rank=processes.rank(),
        world_size=processes.world_size(),
    )
    return learner, batches


def timed_steps(settings: Settings) -> list[float]:
    """Seconds of each step, its batch included."""
    learner, batches = learner_and_batches(settings)
    ends = [time.perf_counter()]
    for batch in batches.epoch(0):
        train_step(learner, batch, StepContext(epoch=0, progress=0.0))
        ends.append(time.perf_counter())
    return [end - start for start, end in zip(ends[WARM_UP:], ends[WARM_UP + 1 :], strict=False)]


def size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def messages_sent(settings: Settings) -> list[Message]:
    """The messages that this process sends in one step."""
    learner, batches = learner_and_batches(settings)
    with (
        patch.object(dist, "all_reduce", wraps=dist.all_reduce) as reduced,
        patch.object(dist, "broadcast", wraps=dist.broadcast) as broadcasts,
    ):
        for _, batch in zip(range(WARM_UP + 1), batches.epoch(0), strict=False):
            reduced.reset_mock()
            broadcasts.reset_mock()
            train_step(learner, batch, StepContext(epoch=0, progress=0.0))
    sums = [
        Message("gradients" if "async_op" in call.kwargs else "all_reduce", size(call.args[0]))
        for call in reduced.call_args_list
    ]
    return sums + [Message("broadcast", size(call.args[0])) for call in broadcasts.call_args_list]


def message_seconds(message: Message, repeats: int = 20) -> float:
    """The median time over repetitions of one message by itself."""
    buffer, found = torch.zeros(max(1, message.bytes // FLOAT)), []
    for _ in range(repeats):
        dist.barrier()
        start = time.perf_counter()
        if message.kind == "broadcast":
            dist.broadcast(buffer, src=0)
        else:
            dist.all_reduce(buffer)
        found.append(time.perf_counter() - start)
    return median(found)


@contextmanager
def group(rank: int, count: int, store: Path) -> Iterator[None]:
    """A process group of `count` processes; none where there is one."""
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        yield
    finally:
        processes.stop()


def work(rank: int, folder: Path, settings: Settings) -> None:
    """One of two processes. The second waits for the first's turns to end, without computing."""
    times: dict[str, list[list[float]]] = {name: [] for name in settings.ways}
    messages: list[tuple[Message, float]] = []
    for turn in range(settings.rounds):
        for name in times:
            count, threads = WAYS[name]
            if rank >= count:
                continue
            torch.set_num_threads(threads)
            with group(rank, count, folder / f"store-{turn}"):
                times[name].append(timed_steps(settings))
                if count == 2 and turn == 0:
                    messages = [(message, message_seconds(message)) for message in messages_sent(settings)]
    if rank == 0:
        (folder / "found.json").write_text(json.dumps({"times": times, "messages": messages}))


def summary(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def measured(settings: Settings) -> dict[str, Any]:
    """One precision's figures."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, args=(Path(folder), settings), nprocs=2)
        found = json.loads((Path(folder) / "found.json").read_text())
    times: dict[str, list[list[float]]] = found["times"]
    by_turn = {name: [median(turn) for turn in turns] for name, turns in times.items()}
    gains = {
        name: [one / two for one, two in zip(by_turn[ONE], turns, strict=True)]
        for name, turns in by_turn.items()
        if name != ONE
    }
    ways: dict[str, Any] = {}
    for name, turns in times.items():
        steps = [seconds for turn in turns for seconds in turn]
        ways[name] = {"seconds": turns, "step": summary(steps), "steps per second": 1 / median(steps)}
    messages = [Message(*message)._asdict() | {"seconds": seconds} for message, seconds in found["messages"]]
    message_total = sum(message["seconds"] for message in messages)
    return {
        "ways": ways,
        "times as fast as one thread": {name: summary(gain) for name, gain in gains.items()},
        "efficiency": {name: summary([each / 2 for each in gain]) for name, gain in gains.items()},
        "a step of two says": {
            "messages": messages,
            "bytes": sum(message["bytes"] for message in messages),
            "seconds by themselves": message_total,
            "step expected of them, without overlap": ways[ONE]["step"]["median"] / 2 + message_total,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=("float32", "bf16"), default=["float32"])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128, help="images per step, over all processes")
    parser.add_argument("--attack-steps", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed in a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--no-threads", action="store_true", help="leave out the one process with two threads")
    parser.add_argument("--step", type=Path, help="a result of benchmarks/speed/step.py on a GPU")
    parser.add_argument("--rate", type=float, default=2e14, help="operations per second of a GPU that was not measured")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    step = json.loads(chosen.step.read_text()) if chosen.step else None
    nets = {name: on_paper(name, rate=chosen.rate, step=step) for name in ("prn18", "wrn34-10")}
    ways = tuple(name for name in WAYS if not (chosen.no_threads and name == THREADS))
    made = environment(CPU)
    result: dict[str, Any] = {
        "command": f"python benchmarks/{made['command']}",
        "environment": {k: v for k, v in made.items() if k not in ("command", "threads", "processes")},
        "load before": os.getloadavg()[0],
        "measured": {},
    }
    for precision in chosen.precision:
        settings = Settings(
            chosen.width, chosen.batch, chosen.attack_steps, precision, chosen.steps, chosen.rounds, ways
        )
        result["measured"][precision] = measured(settings)
        for name, way in result["measured"][precision]["ways"].items():
            print(f"{precision}, {name}: {way['steps per second']:.2f} steps per second", flush=True)
    result["on paper"] = {"assumed": ASSUMED, "nets": nets}
    for name, paper in nets.items():
        print(f"{name} on paper ({paper['compute']}):")
        for row in paper["rows"]:
            alone, hidden = row["efficiency"]["without overlap"], row["efficiency"]["with overlap"]
            print(f"  {row['GPUs']} GPUs of {row['images per GPU']:g} images: efficiency {alone:.1%} to {hidden:.1%}")
    write_atomically(chosen.out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
