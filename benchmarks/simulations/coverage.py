"""Simulate the coverage and the width of the intervals of an audit and of a comparison.

    python -m benchmarks.simulations.coverage

writes `benchmarks/results/coverage.json`: 12 settings, 10,000 draws each, at nominal 95 %. A draw is a test sample
with the verdicts of two models, a and b, or of the runs of several training seeds of each. The audit's intervals are
those of a.

Each width is reported with that of Bonferroni's two-sided interval: the range of the figure over all rates within the
class intervals, corrected for their number, C for one side and 2 C for two.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from faal.audit.comparison.difference import between_runs, unpaired, values
from faal.audit.estimates import MANY_CLASSES, lowest_tenth
from faal.audit.statistics import intervals, paired
from faal.audit.statistics.dispersion import deviation_interval, gap_interval
from faal.audit.statistics.intervals import Array, Interval
from faal.checkpoint import write_atomically
from faal.engine.environment import environment

RESULTS = Path(__file__).parents[1] / "results" / "coverage.json"
LEVEL, DRAWS, SEED = 0.95, 10_000, 1
CHUNK = 250
RESAMPLES = 399
"""Resamples of the bootstraps here; a comparison uses 25 times as many."""
NAIVE_DRAWS = 1000
"""Draws for the bootstrap of a minimum, whose coverage is so low that no more are needed."""
RUNS = (3, 5)
SAME_FATE = 0.7
"""The share of the samples on which both models' verdicts follow from the same random number."""
TRAINING = 0.04
"""Standard deviation of a class's rate p over training seeds, in units of (p (1 - p))^(1/2): 2 points at 50 %."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """The classes' sizes, and their true rates under two models."""

    name: str
    n: Counts
    a: Array
    b: Array


def settings() -> list[Setting]:
    """10 and 100 classes, equal and unequal in size, with three kinds of rates.

    b raises the class that is far below to its weakest neighbour, as a repair does: its worst classes tie.
    """
    made = []
    for classes, far in ((10, 0.2), (100, 0.05)):
        others = np.linspace(0.45, 0.65, classes - 1)
        half, low = np.full(classes, 0.5), np.linspace(0.01, 0.03, classes)
        kinds = {
            "one far below": (np.array([far, *others]), np.array([others[0], *others])),
            "all alike": (half, half),
            "1 to 3 %": (low, low[::-1]),
        }
        sizes = {"equal": np.full(classes, 100), "unequal": np.geomspace(30, 400, classes).round().astype(np.int64)}
        made += [Setting(f"{classes} {s}, {k}", n, *ab) for s, n in sizes.items() for k, ab in kinds.items()]
    return made


@dataclass
class Tally:
    """Counts misses and adds up widths; `below` and `above` are intervals that lie on that side of the truth."""

    draws: int = 0
    below: Any = 0
    above: Any = 0
    width: float = 0.0
    bonferroni: float = 0.0

    def add(self, found: Interval, bonferroni: Interval, truth: ArrayLike, *, together: bool = False) -> None:
        """A chunk of draws. Intervals of (draws, C) are judged class by class, or `together`: one miss is a miss."""
        below: Any = np.asarray(found.high < np.asarray(truth) - 1e-9)
        above: Any = np.asarray(found.low > np.asarray(truth) + 1e-9)
        if together:
            below, above = below.any(axis=-1), (above.any(axis=-1) & ~below.any(axis=-1))
        self.draws += len(below)
        self.below = self.below + below.sum(axis=0)
        self.above = self.above + above.sum(axis=0)
        self.width += len(below) * float(np.mean(found.high - found.low))
        self.bonferroni += len(below) * float(np.mean(bonferroni.high - bonferroni.low))

    def record(self) -> dict[str, float]:
        """Fractions; of intervals that were judged class by class, those of the class that was held least often."""
        misses = np.atleast_1d(self.below + self.above)
        at = int(misses.argmax())
        return {
            "draws": self.draws,
            "coverage": float(1 - misses[at] / self.draws),
            "below": float(np.atleast_1d(self.below)[at] / self.draws),
            "above": float(np.atleast_1d(self.above)[at] / self.draws),
            "width": self.width / self.draws,
            "bonferroni": self.bonferroni / self.draws,
        }


@dataclass
class Tallies:
    """By name, made on first use."""

    named: dict[str, Tally] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tally:
        return self.named.setdefault(name, Tally())

    def record(self) -> dict[str, dict[str, float]]:
        return {name: tally.record() for name, tally in self.named.items()}


# --- Bonferroni's ranges ----------------------------------------------------------------------------------------------


def range_of(low: Array, high: Array, figure: Any) -> Interval:
    """Of a figure that rises with every rate."""
    return Interval(figure(low), figure(high))


def gap_range(low: Array, high: Array) -> Interval:
    return Interval(np.maximum(low.max(axis=-1) - high.min(axis=-1), 0), high.max(axis=-1) - low.min(axis=-1))


def deviation_range(low: Array, high: Array) -> Interval:
    """From within: the widest of the corners with the highest classes up and the others down, the closest on a grid."""
    order = np.argsort(low + high, axis=-1)
    low, high = np.take_along_axis(low, order, axis=-1), np.take_along_axis(high, order, axis=-1)
    classes = np.arange(low.shape[-1])
    up = classes >= np.arange(low.shape[-1] + 1)[:, None]
    widest = np.where(up, high[..., None, :], low[..., None, :]).std(axis=-1).max(axis=-1)
    closest = np.min([np.clip(at, low, high).std(axis=-1) for at in np.linspace(0, 1, 101)], axis=0)
    return Interval(closest, widest)


def minus(b: Interval, a: Interval) -> Interval:
    return Interval(b.low - a.high, b.high - a.low)


# --- one chunk of draws -----------------------------------------------------------------------------------------------


def figures(n: Counts) -> dict[str, tuple[str, Any]]:
    """What is estimated: its name in the table -> its name in a comparison, and its range within class intervals."""
    tenth = lowest_tenth(len(n))
    found: dict[str, tuple[str, Any]] = {
        "average": ("average", lambda low, high: range_of(low, high, lambda rates: rates @ (n / n.sum()))),
        "balanced": ("balanced", lambda low, high: range_of(low, high, lambda rates: rates.mean(axis=-1))),
        "worst class": ("worst", lambda low, high: range_of(low, high, lambda rates: rates.min(axis=-1))),
        "worst tenth": ("worst_tenth", lambda low, high: range_of(low, high, lambda rates: lowest_mean(rates, tenth))),
        "gap": ("gap", gap_range),
    }
    if len(n) < MANY_CLASSES:
        del found["worst tenth"]
    return found


def lowest_mean(rates: Array, count: int) -> Array:
    least: Array = np.sort(rates, axis=-1)[..., :count].mean(axis=-1)
    return least


def truths(rates: Array, n: Counts) -> dict[str, Array]:
    """The figures of true rates (..., C), by their names in a comparison."""
    return values(rates * n, n)


def audited(right: Counts, setting: Setting, tallies: Tallies) -> None:
    """Every interval of `audit.json`, and the one that reports without intervals for a minimum invite."""
    n, p = setting.n, setting.a
    low, high = intervals.clopper_pearson(right, n, 1 - (1 - LEVEL) / len(n))
    single: dict[str, Any] = {
        "average": intervals.pooled_interval,
        "balanced": intervals.mean_interval,
        "worst": intervals.worst_class_interval,
        "worst_tenth": lambda k, n, level: intervals.lowest_mean_interval(k, n, lowest_tenth(len(n)), level),
        "gap": gap_interval,
    }
    for name, (key, ends) in figures(n).items():
        tallies[name].add(single[key](right, n, LEVEL), ends(low, high), truths(p, n)[key])
    each = Interval(*intervals.clopper_pearson(right, n, LEVEL))
    tallies["each class"].add(each, Interval(low, high), p)
    tallies["standard deviation"].add(deviation_interval(right, n, LEVEL), deviation_range(low, high), p.std())
    worst = (right / n).argmin(axis=-1)[:, None]
    own = Interval(*(np.take_along_axis(end, worst, axis=-1)[:, 0] for end in each))
    ends = range_of(low, high, lambda rates: rates.min(axis=-1))
    tallies["not used: the worst class's own interval"].add(own, ends, p.min())


def bootstrapped_minimum(right: Counts, setting: Setting, rng: np.random.Generator, tallies: Tallies) -> None:
    """The percentile bootstrap of the worst class."""
    n = setting.n
    low, high = intervals.clopper_pearson(right, n, 1 - (1 - LEVEL) / len(n))
    ends = np.empty((2, len(right)))
    for place, rates in enumerate(right / n):
        least = (rng.binomial(n, rates, size=(RESAMPLES, len(n))) / n).min(axis=-1)
        ends[:, place] = np.quantile(least, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    bonferroni = range_of(low, high, lambda rates: rates.min(axis=-1))
    tallies["not used: percentile bootstrap of the worst class"].add(Interval(*ends), bonferroni, setting.a.min())


def compared(cells: Counts, setting: Setting, resamples: int, first: int, tallies: Tallies) -> None:
    """Two models on the same samples; `cells` (draws, C, 4) counts both right, gained, lost, both wrong."""
    n, a, b = setting.n, setting.a, setting.b
    both, gained, lost = cells[..., 0], cells[..., 1], cells[..., 2]
    one, other = (
        Interval(*intervals.clopper_pearson(both + only, n, 1 - (1 - LEVEL) / (2 * len(n)))) for only in (lost, gained)
    )
    groups = {"average": (gained.sum(-1, keepdims=True), lost.sum(-1, keepdims=True), n.sum(keepdims=True))}
    groups["balanced"] = groups["average"] if (n == n[0]).all() else (gained, lost, n)
    found: dict[str, Any] = {}
    for name, (won, gone, size) in groups.items():
        if name == "balanced" and groups["balanced"] is groups["average"]:
            found[name] = found["average"]
            continue
        ends = [
            paired.paired_bootstrap(g, l_, size, LEVEL, seed=first + place, resamples=resamples)
            for place, (g, l_) in enumerate(zip(won, gone, strict=True))
        ]
        found[name] = Interval(*np.array(ends).T)
    found["worst"] = paired.worst_difference_interval(both + lost, both + gained, gained, lost, n, LEVEL)
    found |= unpaired(both + lost, both + gained, n, LEVEL)
    for name, (key, ends_of) in figures(n).items():
        bonferroni = minus(ends_of(*other), ends_of(*one))
        tallies[name].add(found[key], bonferroni, truths(b, n)[key] - truths(a, n)[key])
    classes = Interval(*paired.paired_intervals(gained, lost, n, 1 - (1 - LEVEL) / len(n)))
    tallies["all classes together"].add(classes, minus(other, one), b - a, together=True)
    if (a == b).any():
        # As an interval: 0 is in it where no class that is alike under both is named.
        named = ((paired.holm(paired.mcnemar(gained, lost)) < 1 - LEVEL) & (a == b)).any(axis=-1)
        nothing = Interval(named.astype(float), named.astype(float))
        tallies["no class named wrongly (McNemar, Holm)"].add(nothing, nothing, 0.0)


def across_seeds(setting: Setting, runs: int, rng: np.random.Generator, draws: int, tallies: Tallies) -> None:
    """Two methods by `runs` training seeds each, all draws at once; the truth is the mean of ten times as many runs."""
    n = setting.n

    def trained(p: Array, count: int) -> Counts:
        rates = rng.normal(p, TRAINING * np.sqrt(p * (1 - p)), size=(runs, count, len(n)))
        return rng.binomial(n, rates.clip(0, 1))

    true_a, true_b = (trained(p, 10 * draws // runs) / n for p in (setting.a, setting.b))
    a, b = trained(setting.a, draws), trained(setting.b, draws)
    found = between_runs(a, b, n, LEVEL)
    corrected = 1 - (1 - LEVEL) / (2 * len(n))
    one, other = (
        Interval(*(end.clip(0, 1) for end in paired.t_intervals(right / n, corrected, step=1 / n))) for right in (a, b)
    )
    for name, (key, ends_of) in figures(n).items():
        bonferroni = minus(ends_of(*other), ends_of(*one))
        tallies[name].add(found.overall[key], bonferroni, (truths(true_b, n)[key] - truths(true_a, n)[key]).mean())
    truth = (true_b - true_a).mean(axis=(0, 1))
    tallies["all classes together"].add(found.classes, minus(other, one), truth, together=True)


# --- all of it --------------------------------------------------------------------------------------------------------


def simulate(setting: Setting, *, draws: int, seed: int, resamples: int = RESAMPLES) -> dict[str, Any]:
    """One setting: group of intervals -> interval -> what `Tally.record` says."""
    rng = np.random.default_rng(seed)
    a, b = setting.a, setting.b
    both = SAME_FATE * np.minimum(a, b) + (1 - SAME_FATE) * a * b
    cells = np.stack([both, b - both, a - both, 1 - a - b + both], axis=-1)
    audit, models = Tallies(), Tallies()
    for first in range(0, draws, CHUNK):
        drawn = rng.multinomial(setting.n, cells, size=(min(CHUNK, draws - first), len(setting.n)))
        audited(drawn[..., 0] + drawn[..., 2], setting, audit)
        if first < NAIVE_DRAWS:
            bootstrapped_minimum(drawn[..., 0] + drawn[..., 2], setting, rng, audit)
        compared(drawn, setting, resamples, first, models)
    found = {"audit": audit.record(), "two models": models.record()}
    for runs in RUNS:
        tallies = Tallies()
        across_seeds(setting, runs, rng, draws, tallies)
        found[f"{runs} runs a side"] = tallies.record()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help="per setting")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for place, setting in enumerate(settings()):
        found[setting.name] = simulate(setting, draws=arguments.draws, seed=SEED + place)
        print(setting.name, flush=True)
    result = {
        "command": "python -m benchmarks.simulations.coverage"
        + (f" --draws {arguments.draws}" if arguments.draws != DRAWS else ""),
        "environment": {k: v for k, v in environment(torch.device("cpu")).items() if k != "command"},
        "level": LEVEL,
        "draws": arguments.draws,
        "naive_draws": NAIVE_DRAWS,
        "resamples": RESAMPLES,
        "seed": SEED,
        "settings": found,
    }
    write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
    print(arguments.out)


if __name__ == "__main__":
    main()
