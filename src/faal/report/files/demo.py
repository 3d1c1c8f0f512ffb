"""Reads a demo's folder: the accuracies of a base, a control and a repaired model per training seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from faal.errors import InputError
from faal.report.files.read import number, read_json, read_run
from faal.report.files.run import IntervalEstimate, RunFiles

ROLES = ("base", "control", "repaired")
"""The three models of a seed, in the order of the page; the control is the same fine-tune without the method."""


@dataclass(frozen=True, kw_only=True)
class SeedAccuracy:
    """Average and worst-class robust accuracy of one model of one seed, fractions."""

    average: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class Demo:
    """`demo.json` and the first seed's runs, by role; `points` has an entry per seed."""

    seeds: tuple[int, ...]
    points: dict[str, tuple[SeedAccuracy, ...]]
    autoattack: dict[str, SeedAccuracy]
    seconds: float
    first: dict[str, RunFiles]


def is_demo(directory: Path) -> bool:
    """Whether the folder is a demo's."""
    return (directory / "demo.json").is_file()


def read_demo(directory: Path) -> Demo:
    """Reads a demo's folder.

    Raises:
        InputError: `demo.json` is damaged, or the first seed's runs are missing.
    """
    path = directory / "demo.json"
    content = read_json(path)
    try:
        seeds = tuple(int(entry["seed"]) for entry in content["seeds"])
        points = {role: tuple(_accuracy(entry[role]) for entry in content["seeds"]) for role in ROLES}
        ensemble = content.get("autoattack") or {}
        autoattack = {role: _accuracy(ensemble[role]) for role in ROLES if role in ensemble}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a demo's result ({error!r}); run `faal demo` again") from None
    if not seeds:
        raise InputError(f"{path} has no seed; run `faal demo` again")
    first = {role: read_run(directory / f"seed-{seeds[0]}" / role) for role in ROLES}
    return Demo(seeds=seeds, points=points, autoattack=autoattack, seconds=number(content.get("seconds")), first=first)


def _accuracy(fields: Mapping[str, Any]) -> SeedAccuracy:
    return SeedAccuracy(average=number(fields["average"]), worst=number(fields["worst"]))


def t_interval(values: Sequence[float], level: float) -> IntervalEstimate:
    """The mean with its Student t interval, mean +- t_{n-1} s / sqrt(n); its ends are nan for fewer than two values.

    Args:
        values: one number per training seed.
        level: confidence level, such as 0.95.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) < 2:
        return IntervalEstimate(value=mean, low=math.nan, high=math.nan)
    quantile = float(stdtrit(len(sample) - 1, (1 + level) / 2))
    half = quantile * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return IntervalEstimate(value=mean, low=mean - half, high=mean + half)
