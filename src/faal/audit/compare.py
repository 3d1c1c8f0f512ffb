"""Two models, or two methods, side by side: paired by sample within a run, by run across training seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.audit.intervals import Array, Interval, worst_class_interval
from faal.audit.paired import (
    holm,
    mcnemar,
    paired_intervals,
    paired_mean_interval,
    t_intervals,
    t_test,
)
from faal.audit.result import AuditResult
from faal.audit.verdicts import ALL, with_all
from faal.errors import InputError


@dataclass(frozen=True)
class Difference:
    """An accuracy of a and of b (means over the runs), and b - a with its interval; fractions."""

    a: float
    b: float
    value: float
    low: float
    high: float

    @property
    def established(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class ClassDifference(Difference):
    """The difference in one class. Interval and `p` are corrected for all classes: any class may be named by them.

    The interval is at level 1 - alpha/C (Bonferroni); `p` is Holm's correction of McNemar's exact test within one run,
    of Student's paired test over several.
    """

    name: str
    p: float


@dataclass(frozen=True, kw_only=True)
class AttackComparison:
    """The differences under one attack.

    With one run a side the interval of `worst` is conservative: from each side's worst-class interval at level
    1 - alpha/2, the ends subtracted. The class need not be the same on both sides.
    """

    average: Difference
    balanced: Difference
    worst: Difference
    classes: tuple[ClassDifference, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found. `runs` a side; `conclusion` in plain sentences."""

    name_a: str
    name_b: str
    runs: int
    level: float
    threat: dict[str, Any]
    attacks: dict[str, AttackComparison]
    conclusion: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare(
    name_a: str,
    results_a: Sequence[AuditResult | Path | str],
    name_b: str,
    results_b: Sequence[AuditResult | Path | str],
    *,
    level: float = 0.95,
) -> Comparison:
    """Compare b with a, under every attack that all of their audits have, and under `all` of those.

    With one run a side the two models are paired sample by sample; intervals cover the chance of the test sample and
    the sentence says that nothing follows about the methods. With several runs a side (training seeds), the k-th of a
    is paired with the k-th of b; intervals are Student's over the pairs.

    Args:
        name_a: what to call the first, the one compared with.
        results_a: its audits, one per training seed: results, or the folders that hold them.
        name_b: what to call the second.
        results_b: its audits, as many, in the same order of seeds.
        level: nominal coverage of the intervals.

    Raises:
        InputError: other numbers of audits; audits of other data, samples, labels, images, classes, threats
            or attack settings.
    """
    if len(results_a) != len(results_b) or not results_a:
        raise InputError(
            f"{name_a} has {len(results_a)} audits and {name_b} has {len(results_b)}; "
            "they are compared in pairs, so give as many of each, in the same order of seeds"
        )
    a, b = _read(results_a), _read(results_b)
    attacks = _common_attacks(a + b, [name_a] * len(a) + [name_b] * len(b))
    found = {}
    for attack, answers in attacks.items():
        correct = np.stack([predicted == a[0].verdicts.label for predicted in answers])
        found[attack] = _difference(a[0].verdicts.label, correct[: len(a)], correct[len(a) :], a[0].classes, level)
    return Comparison(
        name_a=name_a,
        name_b=name_b,
        runs=len(a),
        level=level,
        threat=a[0].threat,
        attacks=found,
        conclusion=_conclusion(name_a, name_b, len(a), level, [name for name in found if name != ALL], found[ALL]),
    )


def _read(runs: Sequence[AuditResult | Path | str]) -> list[AuditResult]:
    return [run if isinstance(run, AuditResult) else AuditResult.read(Path(run)) for run in runs]


def _common_attacks(runs: Sequence[AuditResult], names: Sequence[str]) -> dict[str, list[NDArray[np.int16]]]:
    """attack -> each run's answers, `all` recomputed over the attacks that all runs have. Refuses unequal audits."""
    first = runs[0]
    for name, run in zip(names[1:], runs[1:], strict=True):
        apart = [
            ("threats", run.threat == first.threat),
            ("classes", run.classes == first.classes),
            ("samples", np.array_equal(run.verdicts.index, first.verdicts.index)),
            ("labels", np.array_equal(run.verdicts.label, first.verdicts.label)),
            ("data", _agree(run.data.get("name"), first.data.get("name"))),
            ("images", _agree(run.data.get("fingerprint"), first.data.get("fingerprint"))),
        ]
        for what, same in apart:
            if not same:
                raise InputError(
                    f"the audits of {names[0]} and {name} have other {what} and cannot be paired; "
                    "audit both on the same data with the same --epsilon, --limit and --seed"
                )
    common = [attack for attack in first.attacks if attack != ALL and all(attack in run.attacks for run in runs)]
    for attack in common:
        settings = [run.attacks[attack].parameters for run in runs]
        if other := [name for name, setting in zip(names, settings, strict=True) if setting != settings[0]]:
            raise InputError(
                f"the audits of {names[0]} and {other[0]} ran {attack} with other settings; "
                "audit both with the same version of the program"
            )
    every = [
        with_all(run.verdicts.label, {attack: run.verdicts.predicted[attack] for attack in common}) for run in runs
    ]
    return {attack: [answers[attack] for answers in every] for attack in (*common, ALL)}


def _agree(one: str | None, other: str | None) -> bool:
    """Whether two records say the same, as far as both say something."""
    return one is None or other is None or one == other


def _difference(
    label: NDArray[np.int64], a: NDArray[np.bool_], b: NDArray[np.bool_], names: Sequence[str], level: float
) -> AttackComparison:
    """From correctness (K, N) of both sides."""
    n = np.bincount(label, minlength=len(names))
    present = np.flatnonzero(n)

    def per_class(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.stack([np.bincount(label[row], minlength=len(names)) for row in which])[:, present]

    n = n[present]
    right_a, right_b = per_class(a), per_class(b)
    gained, lost = per_class(b & ~a), per_class(a & ~b)
    rates_a, rates_b = right_a / n, right_b / n
    corrected = 1 - (1 - level) / len(n)
    if len(a) == 1:
        average = Interval(*(float(end) for end in paired_intervals(gained.sum(), lost.sum(), n.sum(), level)))
        balanced = paired_mean_interval(gained[0], lost[0], n, level)
        least_a, least_b = (worst_class_interval(right[0], n, 1 - (1 - level) / 2) for right in (right_a, right_b))
        worst = Interval(least_b.low - least_a.high, least_b.high - least_a.low)
        lows, highs = paired_intervals(gained[0], lost[0], n, corrected)
        p = holm(mcnemar(gained[0], lost[0]))
    else:
        average = _over_runs(b.mean(axis=1) - a.mean(axis=1), level)
        balanced = _over_runs(rates_b.mean(axis=1) - rates_a.mean(axis=1), level)
        worst = _over_runs(rates_b.min(axis=1) - rates_a.min(axis=1), level)
        lows, highs = t_intervals(rates_b - rates_a, corrected)
        p = holm(t_test(rates_b - rates_a))
    return AttackComparison(
        average=Difference(*_figures(a.mean(), b.mean(), average)),
        balanced=Difference(*_figures(rates_a.mean(), rates_b.mean(), balanced)),
        worst=Difference(*_figures(rates_a.min(axis=1).mean(), rates_b.min(axis=1).mean(), worst)),
        classes=tuple(
            ClassDifference(*_figures(of_a, of_b, Interval(low, high)), names[c], float(corrected_p))
            for c, of_a, of_b, low, high, corrected_p in zip(
                present, rates_a.mean(axis=0), rates_b.mean(axis=0), lows, highs, p, strict=True
            )
        ),
    )


def _over_runs(differences: Array, level: float) -> Interval:
    low, high = t_intervals(differences, level)
    return Interval(float(low), float(high))


def _figures(a: float, b: float, interval: Interval) -> tuple[float, float, float, float, float]:
    return float(a), float(b), float(b - a), float(interval.low), float(interval.high)


# --- in words --------------------------------------------------------------------------------------------------------


def _conclusion(
    name_a: str, name_b: str, runs: int, level: float, attacks: Sequence[str], found: AttackComparison
) -> str:
    """What the reader may take away, in plain sentences."""
    said = [
        f"Under {', '.join(attacks)} together, {name_b} is {_against(found.average, name_a)} on average over the "
        f"samples, and {_against(found.worst, 'it')} in the worst class."
    ]
    changed = [entry for entry in found.classes if entry.p < 1 - level]
    if changed:
        named = ", ".join(f"{entry.name} ({100 * entry.value:+.1f})" for entry in changed)
        said.append(f"Classes that differ by more than chance, corrected for all {len(found.classes)}: {named}.")
    else:
        said.append(f"No single class differs by more than chance, corrected for all {len(found.classes)}.")
    if runs == 1:
        said.append(
            "This compares these two models, not the methods that made them: a claim about methods needs several "
            "training seeds a side."
        )
    else:
        said.append(f"The intervals cover the chance of training, from {runs} pairs of runs.")
    return " ".join(said)


def _against(difference: Difference, other: str) -> str:
    """Such as `4.2 points above base (+1.0 to +7.4)`; says where the interval leaves the sign open."""
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    sure = "" if difference.established else ": not established"
    points = round(100 * difference.value, 1)
    standing = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "level with"
    return f"{standing} {other} ({interval}{sure})"
