"""The result of an audit, and its files: `audit.json`, `verdicts.npz`, `examples.npz`.

All accuracies are fractions; an interval covers the draw of the test sample, at the level in the result. Robust
accuracy is an upper bound: a stronger attack may find more adversarial examples.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from faal.audit.records.examples import Examples
from faal.audit.records.verdicts import Verdicts, read_arrays, write_arrays
from faal.bounds.plain import parse_json
from faal.checkpoint import write_atomically
from faal.config import Threat
from faal.confusion import Confusion
from faal.errors import MISFIT, InputError
from faal.recorded import check_confusion, check_counts, check_estimates

SCHEMAS = ("faal-audit/1", "faal-audit/2")
"""The schemas of `audit.json`: with all counts of the confusion, or, for many classes, with those that are not zero."""

AUDIT, VERDICTS, EXAMPLES = "audit.json", "verdicts.npz", "examples.npz"


def percent(value: float | None) -> str:
    """A fraction in per cent, to one decimal; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


@dataclass(frozen=True)
class Estimate:
    """An accuracy with its interval. `value` is None without samples."""

    value: float | None
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Estimate":
        return cls(plain["value"], plain["low"], plain["high"])


@dataclass(frozen=True)
class ClassEstimate(Estimate):
    """The accuracy of one class, its interval not corrected for the number of classes."""

    name: str
    n: int
    correct: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "n": self.n, "correct": self.correct, **super().to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "ClassEstimate":
        return cls(plain["value"], plain["low"], plain["high"], plain["name"], plain["n"], plain["correct"])


@dataclass(frozen=True)
class WorstClass(Estimate):
    """The lowest class accuracy; `name` is the class that is worst in this sample (the first of several).

    The interval is that of the true minimum, attained by any class.
    """

    name: str

    def to_json(self) -> dict[str, Any]:
        return {"class": self.name, **super().to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "WorstClass":
        return cls(plain["value"], plain["low"], plain["high"], plain["class"])


@dataclass(frozen=True)
class WorstTenth(Estimate):
    """The mean accuracy of the lowest tenth of the classes with samples, rounded up; `names` are the lowest ones
    in this sample.

    The interval is that of the truly lowest classes, and allows for those without samples.
    """

    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"classes": list(self.names), **super().to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "WorstTenth":
        return cls(plain["value"], plain["low"], plain["high"], tuple(plain["classes"]))


@dataclass(frozen=True)
class Gap(Estimate):
    """The best class's accuracy minus the worst one's; `best` and `worst` are those of this sample.

    The interval is that of the true gap, attained by any classes.
    """

    best: str
    worst: str

    def to_json(self) -> dict[str, Any]:
        return {"best": self.best, "worst": self.worst, **super().to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Gap":
        return cls(plain["value"], plain["low"], plain["high"], plain["best"], plain["worst"])


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Accuracies per class (or group), and their summary.

    `average` is over samples, `balanced` over classes; `deviation` is the standard deviation over the classes;
    `worst_tenth` is None with fewer than 20 classes that have samples. Read from an audit of an earlier version,
    `worst_tenth`, `gap` and `deviation` are None.
    """

    average: Estimate
    balanced: Estimate
    worst: WorstClass
    worst_tenth: WorstTenth | None = None
    gap: Gap | None = None
    deviation: Estimate | None = None
    classes: tuple[ClassEstimate, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "average": self.average.to_json(),
            "balanced": self.balanced.to_json(),
            "worst": self.worst.to_json(),
            "worst_tenth": self.worst_tenth and self.worst_tenth.to_json(),
            "gap": self.gap and self.gap.to_json(),
            "deviation": self.deviation and self.deviation.to_json(),
            "classes": [entry.to_json() for entry in self.classes],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], **fields: Any) -> Self:
        check_estimates(plain)
        tenth, gap, deviation = (plain.get(key) for key in ("worst_tenth", "gap", "deviation"))
        return cls(
            average=Estimate.from_json(plain["average"]),
            balanced=Estimate.from_json(plain["balanced"]),
            worst=WorstClass.from_json(plain["worst"]),
            worst_tenth=tenth and WorstTenth.from_json(tenth),
            gap=gap and Gap.from_json(gap),
            deviation=deviation and Estimate.from_json(deviation),
            classes=tuple(ClassEstimate.from_json(entry) for entry in plain["classes"]),
            **fields,
        )


@dataclass(frozen=True, kw_only=True)
class AttackResult(Accuracies):
    """The accuracies under one attack.

    `confusion[c][p]` counts the samples of class c that are predicted as p; `seconds` are summed over processes.
    """

    confusion: Confusion
    parameters: dict[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            "confusion": self.confusion.to_json(),
            "parameters": self.parameters,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], **fields: Any) -> Self:
        confusion = Confusion.from_json(plain["confusion"], len(plain["classes"]))
        return super().from_json(
            plain, confusion=confusion, parameters=plain["parameters"], seconds=plain["seconds"], **fields
        )


_PLAIN = ("model", "data", "threat", "seed", "engine", "block_size", "level", "interval_method", "environment")


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditResult:
    """An audit: estimates per attack, and the verdicts from which they are computed.

    `model` is {"name", "weights", "digest"} and the caller's entries, `weights` a digest of only the weights; `threat`
    {"norm", "epsilon"}; `data` {"name", "split", "n", "fingerprint", "classes"}; `warnings` full sentences; `attacks`
    name -> estimates, `clean` first and the pseudo-attack `all` last; `groups` name of a grouping -> attack ->
    estimates by group; `probes` the values of the checks for misuse. `examples` is None if no attack found an
    adversarial example.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    threat: dict[str, Any]
    seed: int
    engine: str
    block_size: int
    level: float
    interval_method: str
    warnings: tuple[str, ...]
    environment: dict[str, Any]
    attacks: dict[str, AttackResult]
    groups: dict[str, dict[str, Accuracies]] = field(default_factory=dict)
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    verdicts: Verdicts
    examples: Examples | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(self.data["classes"])

    def __repr__(self) -> str:
        """Average and worst class in per cent per attack; `faal.audit.table` has all results."""
        summaries = (
            f"{name} {percent(found.average.value)} ({found.worst.name} {percent(found.worst.value)})"
            for name, found in self.attacks.items()
        )
        subject = f"{self.model['name']}, n = {self.data['n']}, {Threat(**self.threat)}"
        return f"<AuditResult of {subject}; average (worst class) in %: {', '.join(summaries)}>"

    def to_json(self) -> dict[str, Any]:
        """The content of `audit.json`."""
        attacks = {name: found.to_json() for name, found in self.attacks.items()}
        return {
            "schema": SCHEMAS[any(isinstance(found["confusion"], dict) for found in attacks.values())],
            **{name: getattr(self, name) for name in _PLAIN},
            "warnings": list(self.warnings),
            "attacks": attacks,
            "groups": {
                name: {attack: found.to_json() for attack, found in by_attack.items()}
                for name, by_attack in self.groups.items()
            },
            "probes": self.probes,
        }

    def write(self, folder: Path) -> None:
        """Write the three files, each atomically; `audit.json` last, so that it exists only if all do.

        Raises:
            InputError: the folder cannot be written.
        """
        write_arrays(folder / VERDICTS, self.verdicts.arrays())
        if self.examples is not None:
            write_arrays(folder / EXAMPLES, self.examples.arrays())
        else:
            (folder / EXAMPLES).unlink(missing_ok=True)
        text = json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(folder / AUDIT, (text + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "AuditResult":
        """Read an audit.

        Raises:
            InputError: there is no audit, or it is of another version, damaged, or has an accuracy that does not follow
                from the verdicts.
        """
        path = folder / AUDIT
        try:
            plain = parse_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"there is no audit in {folder} (no {AUDIT}); run `faal audit` with --out first") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is truncated or damaged ({error}); run the audit again") from None
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if schema not in SCHEMAS:
            known = " or ".join(map(repr, SCHEMAS))
            raise InputError(f"{path} has the schema {schema!r}, not {known}; run the audit again")
        verdicts = Verdicts.read(folder / VERDICTS)
        examples = folder / EXAMPLES
        try:
            result = cls(
                **{name: plain[name] for name in _PLAIN},
                warnings=tuple(plain["warnings"]),
                attacks={name: AttackResult.from_json(found) for name, found in plain["attacks"].items()},
                groups={
                    name: {attack: Accuracies.from_json(found) for attack, found in by_attack.items()}
                    for name, by_attack in plain.get("groups", {}).items()
                },
                probes=plain.get("probes", {}),
                verdicts=verdicts,
                examples=Examples(**read_arrays(examples)) if examples.exists() else None,
            )
            consistent = (
                result.data["n"] == len(verdicts.label)
                and set(verdicts.predicted) == set(result.attacks)
                and set(verdicts.groups) <= set(result.groups)
            )
        except MISFIT as error:
            reason = error if isinstance(error, ValueError) else repr(error)
            raise InputError(f"{path} is incomplete or damaged ({reason}); run the audit again") from None
        if not consistent:
            raise InputError(f"{path} and its {VERDICTS} are of different audits; run the audit again")
        try:
            result._check_verdicts()
        except ValueError as error:
            raise InputError(f"{path} and its {VERDICTS} disagree ({error}); run the audit again") from None
        return result

    def _check_verdicts(self) -> None:
        """Raise ValueError where a count or a confusion is not that of the verdicts."""
        label = self.verdicts.label
        for name, found in self.attacks.items():
            correct = self.verdicts.correct(name)
            check_counts(found.classes, label, correct)
            check_confusion(found.confusion.counts, label, self.verdicts.predicted[name])
            for grouping, indices in self.verdicts.groups.items():
                check_counts(self.groups[grouping][name].classes, indices, correct)
