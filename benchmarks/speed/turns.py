"""How the benchmarks take times: one after the other in turns, so that whatever else a machine does falls on all."""

import random
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any, TypeVar

import torch

from faal.engine.environment import environment

T = TypeVar("T")
Clock = Callable[[], float]
"""Says seconds: `time.perf_counter` for those on the wall, `time.process_time` for the processor's own."""


def made_by(device: torch.device) -> dict[str, Any]:
    """The command line that runs, and where: for a result's file."""
    made = environment(device)
    return {"command": f"python benchmarks/{made.pop('command')}", "environment": made}


def seconds(work: Callable[[], object], clock: Clock, device: torch.device | None = None) -> float:
    """What a piece of work takes; on a GPU, until it is done there."""
    gpu = device is not None and device.type == "cuda"
    if gpu:
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if gpu:
        torch.cuda.synchronize(device)
    return clock() - start


def in_turns(ways: Mapping[str, Callable[[int], T]], warm_up: int, rounds: int) -> dict[str, list[T]]:
    """What each way says, round by round, in a new order every round.

    Args:
        ways: a name -> what takes the number of the round and says its seconds.
        warm_up: rounds before, which are not counted.
        rounds: rounds.
    """
    found: dict[str, list[T]] = {name: [] for name in ways}
    order, shuffled = list(ways), random.Random(0)
    for turn in range(warm_up + rounds):
        shuffled.shuffle(order)
        for name in order:
            spent = ways[name](turn)
            if turn >= warm_up:
                found[name].append(spent)
    return found


def summary(times: list[float]) -> dict[str, Any]:
    """Median and quartiles of some seconds."""
    low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
    return {"n": len(times), "median": median(times), "quartiles": [low, high]}


def ratios(others: list[float], own: list[float]) -> dict[str, Any]:
    """How many times `own` the others take, round by round: median and range."""
    found = [other / each for other, each in zip(others, own, strict=True)]
    return {"median": median(found), "range": [min(found), max(found)]}
