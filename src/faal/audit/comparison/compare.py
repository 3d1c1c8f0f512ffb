"""Compare two models, or two methods: paired by sample within a run, by run across training seeds."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.audit.comparison.conclusion import conclusion
from faal.audit.comparison.difference import AttackComparison, difference
from faal.audit.folder import refuse_outdated
from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import ALL, with_all
from faal.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of `compare`. `runs`: per side; `seed`: of the bootstrap; `conclusion`: sentences.

    `attacks`: name -> the differences over the classes; `groups`: name of a common grouping of all audits -> attack ->
    the differences over its groups.
    """

    name_a: str
    name_b: str
    runs: int
    level: float
    seed: int
    threat: dict[str, Any]
    attacks: dict[str, AttackComparison]
    groups: dict[str, dict[str, AttackComparison]]
    conclusion: str

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return asdict(self)


def compare(
    name_a: str,
    results_a: Sequence[AuditResult | Path | str],
    name_b: str,
    results_b: Sequence[AuditResult | Path | str],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare b with a, under every common attack of all audits, and under `all` of them.

    With one run per side the two models are paired by sample; intervals cover the draw of the test sample, and the
    conclusion states that nothing follows about the methods. With several runs per side (training seeds), the k-th of a
    is paired with the k-th of b; intervals are Student's over the pairs.

    Args:
        name_a: the name of the first side, the reference.
        results_a: its audits, one per training seed: results, or their folders.
        name_b: the name of the second side.
        results_b: its audits, the same number, in the same order of seeds.
        level: nominal coverage of the intervals.
        seed: the seed of the bootstrap.

    Raises:
        InputError: one name for both; unequal numbers of audits; one network twice on a side; audits of different data,
            samples, labels, images, classes, groups, threats or attack settings; a folder whose audit is of another
            network than its best.pt.
    """
    if len(results_a) != len(results_b) or not results_a:
        raise InputError(
            f"{name_a} has {len(results_a)} audits and {name_b} has {len(results_b)}; "
            "they are compared in pairs, so pass the same number of each, in the same order of seeds"
        )
    if name_a == name_b:
        raise InputError(f"both sides are named {name_a}; use different names")
    a, b = _read(results_a), _read(results_b)
    for name, side in ((name_a, a), (name_b, b)):
        _refuse_one_network_twice(name, side)
    attacks = _common_attacks(a + b, [name_a] * len(a) + [name_b] * len(b))
    label = a[0].verdicts.label
    correct = {attack: np.stack([predicted == label for predicted in every]) for attack, every in attacks.items()}

    def differences(indices: NDArray[np.int64], names: Sequence[str]) -> dict[str, AttackComparison]:
        return {
            attack: difference(indices, rows[: len(a)], rows[len(a) :], names, level, seed)
            for attack, rows in correct.items()
        }

    found = differences(label, a[0].classes)
    groups = {name: differences(*grouped) for name, grouped in _common_groups(a + b).items()}
    named, under_all = [name for name in found if name != ALL], {name: by[ALL] for name, by in groups.items()}
    return Comparison(
        name_a=name_a,
        name_b=name_b,
        runs=len(a),
        level=level,
        seed=seed,
        threat=a[0].threat,
        attacks=found,
        groups=groups,
        conclusion=conclusion(name_a, name_b, len(a), level, named, found[ALL], under_all, _remarks(a, b, found[ALL])),
    )


def comparison_of(folders: Sequence[Path]) -> dict[str, Any] | None:
    """The comparison of the last of several audited folders with the first, as plain values for a page.

    Returns:
        None with fewer than two folders, and where the audits cannot be compared.
    """
    if len(folders) < 2:
        return None
    first, last = (str(folder) for folder in (folders[0], folders[-1]))
    with suppress(InputError):
        names = [Path(folder).resolve().name for folder in (first, last)]
        before, after = names if names[0] != names[1] else (first, last)
        return compare(before, [first], after, [last]).to_json()
    return None


def _read(runs: Sequence[AuditResult | Path | str]) -> list[AuditResult]:
    results = [run if isinstance(run, AuditResult) else AuditResult.read(Path(run)) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not isinstance(run, AuditResult):
            refuse_outdated(Path(run), result)
    return results


def _digests(side: Sequence[AuditResult]) -> list[str]:
    """The recorded digests of the networks."""
    digests = [
        next((run.model[key] for key in ("weights", "sha256", "digest") if key in run.model), None) for run in side
    ]
    return [digest for digest in digests if digest is not None]


def _remarks(a: Sequence[AuditResult], b: Sequence[AuditResult], found: AttackComparison) -> list[str]:
    """Sentences on common networks of both sides, and on classes without samples."""
    sentences = []
    if shared := set(_digests(a)) & set(_digests(b)):
        which = "the same network" if len(a) == 1 else f"partly the same networks ({len(shared)} of {len(a)})"
        sentences.append(f"Both sides are {which}: differences between these are due to the randomness of the audits.")
    present = {entry.name for entry in found.classes}
    if absent := [name for name in a[0].classes if name not in present]:
        listed = f" ({', '.join(absent)})" if len(absent) <= 5 else ""
        sentences.append(
            f"{len(absent)} of {len(a[0].classes)} classes {'has' if len(absent) == 1 else 'have'} no samples{listed}: "
            "all differences, also that of a worst tenth, are those of the other classes."
        )
    return sentences


def _refuse_one_network_twice(name: str, side: Sequence[AuditResult]) -> None:
    """Reject duplicates: several runs sample the randomness of training, which a network listed twice would
    understate."""
    digests = _digests(side)
    if len(set(digests)) < len(digests):
        raise InputError(
            f"two of the audits of {name} are of the same network; several runs per side must be several training "
            "seeds, so list each only once"
        )


def _common_attacks(runs: Sequence[AuditResult], names: Sequence[str]) -> dict[str, list[NDArray[np.int16]]]:
    """attack -> each run's predictions, `all` recomputed over the attacks of all runs. Rejects audits that differ."""
    first = runs[0]
    for name, run in zip(names[1:], runs[1:], strict=True):
        checks = [
            ("threats", run.threat == first.threat),
            ("classes", run.classes == first.classes),
            ("samples", np.array_equal(run.verdicts.index, first.verdicts.index)),
            ("labels", np.array_equal(run.verdicts.label, first.verdicts.label)),
            ("data", _same_images(run, first) or _agree(run.data.get("name"), first.data.get("name"))),
            ("images", _agree(run.data.get("fingerprint"), first.data.get("fingerprint"))),
        ]
        for what, same in checks:
            if not same:
                raise InputError(
                    f"the audits of {names[0]} and {name} have different {what} and cannot be paired; "
                    "audit both on the same data with the same --epsilon, --limit and --seed"
                )
    common = [attack for attack in first.attacks if attack != ALL and all(attack in run.attacks for run in runs)]
    for attack in common:
        settings = [run.attacks[attack].parameters for run in runs]
        if other := [name for name, setting in zip(names, settings, strict=True) if setting != settings[0]]:
            raise InputError(
                f"the audits of {names[0]} and {other[0]} ran {attack} with different settings; "
                "audit both with the same version of the program"
            )
    every = [
        with_all(run.verdicts.label, {attack: run.verdicts.predicted[attack] for attack in common}) for run in runs
    ]
    return {attack: [predicted[attack] for predicted in every] for attack in (*common, ALL)}


def _common_groups(runs: Sequence[AuditResult]) -> dict[str, tuple[NDArray[np.int64], tuple[str, ...]]]:
    """Name of a common grouping of all runs -> (N,) each sample's group, and the groups' names."""
    found = {}
    for name, indices in runs[0].verdicts.groups.items():
        if not all(name in run.verdicts.groups for run in runs):
            continue
        names = _group_names(runs[0], name)
        if any(_group_names(run, name) != names or not np.array_equal(run.verdicts.groups[name], indices)
               for run in runs[1:]):  # fmt: skip
            raise InputError(f"the audits have different groups in {name!r}; audit all of them with the same --groups")
        found[name] = (indices, names)
    return found


def _group_names(run: AuditResult, name: str) -> tuple[str, ...]:
    return tuple(group.name for group in run.groups[name][ALL].classes)


def _same_images(run: AuditResult, first: AuditResult) -> bool:
    """Whether two audits are known to be of the same images, for any name of the data."""
    return run.data.get("fingerprint") is not None and run.data["fingerprint"] == first.data.get("fingerprint")


def _agree(one: str | None, other: str | None) -> bool:
    """Whether two recorded values are equal, or one of them is not recorded."""
    return one is None or other is None or one == other
