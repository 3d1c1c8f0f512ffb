"""Time implementations in turns, so that other load on the machine affects all of them alike."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

import torch

from faal.engine.environment import environment

T = TypeVar("T")
Clock = Callable[[], float]
"""Returns seconds: `time.perf_counter` of wall time, `time.process_time` of processor time."""


def made_by(device: torch.device) -> dict[str, Any]:
    """The command and the environment of this process, for a result's file."""
    made = environment(device)
    script, _, words = str(made.pop("command")).partition(" ")
    return {"command": f"python -m benchmarks.speed.{Path(script).stem} {words}".rstrip(), "environment": made}


def seconds(work: Callable[[], object], clock: Clock, device: torch.device | None = None) -> float:
    """The seconds that a function takes; on a GPU, until its work there is done."""
    gpu = device is not None and device.type == "cuda"
    if gpu:
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if gpu:
        torch.cuda.synchronize(device)
    return clock() - start


def in_turns(ways: Mapping[str, Callable[[int], T]], warm_up: int, rounds: int) -> dict[str, list[T]]:
    """The results of each implementation, round by round, in a new order every round.

    Args:
        ways: name -> function of the number of the round, which returns its seconds.
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
    """Median and quartiles of times in seconds."""
    low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
    return {"n": len(times), "median": median(times), "quartiles": [low, high]}


def ratios(others: list[float], own: list[float]) -> dict[str, Any]:
    """The others' times as multiples of `own`, round by round: median and range."""
    found = [other / each for other, each in zip(others, own, strict=True)]
    return {"median": median(found), "range": [min(found), max(found)]}
