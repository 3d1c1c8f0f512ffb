"""Read a demo's folder: the accuracies of a base, a control and a repaired model per training seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from faal.errors import MISFIT, InputError, permitted
from faal.recorded import TOLERANCE
from faal.report.files.arrays import read_verdicts
from faal.report.files.read import number, read_json, read_run
from faal.report.files.run import IntervalEstimate, RunFiles

ROLES = ("base", "control", "repaired")
"""The three models of a seed, in the order of the page; the control is the same fine-tune without the method."""

ATTACKS = ("clean", "pgd20", "cw20", "pgd20x5", "cw20x5")
"""PGD-20 and CW-20 with one random start and with five: on digits at this epsilon robust accuracy under
one start is 3 to 5 points above that under AutoAttack (`docs/decisions.md`)."""

AUTOATTACK = ("autoattack",)


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
    """Whether the folder is that of a demo."""
    return (directory / "demo.json").is_file()


@permitted()
def read_demo(directory: Path) -> Demo:
    """Read a demo's folder.

    Raises:
        InputError: `demo.json` is damaged, or differs from the verdicts of its runs; the first seed's runs are missing.
    """
    path = directory / "demo.json"
    content = read_json(path)
    try:
        seeds = tuple(int(entry["seed"]) for entry in content["seeds"])
        points = {role: tuple(_accuracy(entry[role]) for entry in content["seeds"]) for role in ROLES}
        ensemble = content.get("autoattack") or {}
        autoattack = {role: _accuracy(ensemble[role]) for role in ROLES if role in ensemble}
    except MISFIT as error:
        raise InputError(f"{path} is not a demo's result ({error!r}); run `faal demo` again") from None
    if not seeds:
        raise InputError(f"{path} has no seed; run `faal demo` again")
    for role in ROLES:
        for seed, recorded in zip(seeds, points[role], strict=True):
            _check(recorded, directory / f"seed-{seed}" / role, ATTACKS, path)
        if role in autoattack:
            _check(autoattack[role], directory / f"seed-{seeds[0]}" / role, AUTOATTACK, path)
    first = {role: read_run(directory / f"seed-{seeds[0]}" / role) for role in ROLES}
    return Demo(seeds=seeds, points=points, autoattack=autoattack, seconds=number(content.get("seconds")), first=first)


def _accuracy(fields: Mapping[str, Any]) -> SeedAccuracy:
    return SeedAccuracy(average=number(fields["average"]), worst=number(fields["worst"]))


def robust_accuracy(
    label: NDArray[np.int64], correct: Mapping[str, NDArray[np.bool_]], attacks: Iterable[str]
) -> SeedAccuracy:
    """Average and worst-class accuracy under all of some attacks together.

    Args:
        label: (N,) true classes.
        correct: attack -> (N,) whether each sample is predicted correctly.
        attacks: names of `correct`.
    """
    all_correct = np.logical_and.reduce([correct[attack] for attack in attacks])
    classes = [float(all_correct[label == c].mean()) for c in np.unique(label)]
    return SeedAccuracy(average=float(all_correct.mean()), worst=min(classes))


def _check(recorded: SeedAccuracy, run: Path, attacks: Sequence[str], path: Path) -> None:
    """Compare recorded accuracies with the verdicts of their run, if the run exists. Raises InputError."""
    found = read_verdicts(run / "verdicts.npz")
    if found is None or not set(attacks) <= found.correct.keys():
        consistent = 0 <= recorded.worst <= recorded.average <= 1
    else:
        expected = robust_accuracy(found.label, found.correct, attacks)
        consistent = np.allclose(astuple(recorded), astuple(expected), rtol=0, atol=TOLERANCE)
    if not consistent:
        raise InputError(
            f"{path} has accuracies of {run.parent.name}/{run.name} that do not follow from its verdicts; run `faal "
            "demo` again"
        )


def t_interval(values: Sequence[float], level: float) -> IntervalEstimate:
    """The mean with its Student t interval, mean +- t_{n-1} s / sqrt(n); its bounds are nan for fewer than two values.

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
