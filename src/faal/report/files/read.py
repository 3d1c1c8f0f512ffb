"""Read a run's files, which is done only here in the report. Errors are reported in one sentence."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from faal.bounds.plain import parse_json
from faal.confusion import Confusion
from faal.errors import MISFIT, InputError, permitted
from faal.recorded import check_estimates
from faal.report.files.arrays import check_verdicts, read_examples, read_verdicts
from faal.report.files.per_class import positions, read_class_vectors, weighted_records
from faal.report.files.run import (
    AttackAccuracies,
    AuditRecord,
    ClassAccuracy,
    CurveRecord,
    Epoch,
    IntervalEstimate,
    RunFiles,
    TrainingLog,
)
from faal.report.files.text import clean_text

Parsed = TypeVar("Parsed")

AUDIT_SCHEMA, CURVE_SCHEMA = "faal-audit/", "faal-curve/"


@permitted()
def read_run(directory: Path, *, name: str | None = None) -> RunFiles:
    """Read a run's folder: `audit.json`, and the other files if they exist.

    Args:
        directory: the folder.
        name: the run's name on the page; by default the folder's name.

    Raises:
        InputError: there is no audit, a file has an invalid format, or an accuracy does not follow from the verdicts,
            or without verdicts from its counts.
    """
    if not directory.is_dir():
        raise InputError(f"there is no folder {directory}; name the folder of a run")
    audit = _parsed(directory / "audit.json", AUDIT_SCHEMA, _parsed_audit)
    verdicts = read_verdicts(directory / "verdicts.npz")
    if verdicts is not None:
        check_verdicts(audit, verdicts, directory)
    environment = directory / "environment.json"
    config = directory / "config.yaml"
    return RunFiles(
        name=clean_text(name or directory.resolve().name),
        audit=audit,
        outdated=_is_outdated(directory / "best.pt", dict(audit.settings).get("model.sha256")),
        verdicts=verdicts,
        examples=read_examples(directory / "examples.npz", len(audit.classes)),
        training=_training(directory / "metrics.jsonl", len(audit.classes)),
        config=clean_text(config.read_text(encoding="utf-8", errors="replace")) if config.is_file() else None,
        curves=read_curves(directory),
        environment=tuple(_flat(read_json(environment))) if environment.is_file() else (),
    )


def _is_outdated(network: Path, audited: str | None) -> bool:
    """Whether a checkpoint differs from the audited one; false if the audit recorded no digest."""
    if audited is None or not network.is_file():
        return False
    with open(network, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() != audited


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except PermissionError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as JSON ({error}); it is incomplete or damaged, so create it again"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object; it was not written by this program, so create it again")
    return content


def number(value: object) -> float:
    """A finite number, or nan."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        return math.nan


# --- audit.json ------------------------------------------------------------------------------------------------------


def _parsed(path: Path, schema: str, parse: Callable[[Mapping[str, Any]], Parsed]) -> Parsed:
    """The content of a JSON file of a schema."""
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}; run `faal audit` into that folder first")
    content = read_json(path)
    found = content.get("schema")
    if not isinstance(found, str) or not found.startswith(schema):
        raise InputError(f"{path} has the schema {found!r}, not {schema}...; audit again with this version")
    try:
        return parse(content)
    except MISFIT as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} does not fit its schema {found} ({reason}); audit again") from None


def _parsed_audit(content: Mapping[str, Any]) -> AuditRecord:
    attacks = {clean_text(name): _attack(clean_text(name), fields) for name, fields in content["attacks"].items()}
    if not attacks:
        raise ValueError("it has no attacks")
    classes = tuple(c.name for c in next(iter(attacks.values())).classes)
    if any(tuple(c.name for c in attack.classes) != classes for attack in attacks.values()):
        raise ValueError("its attacks name different classes")
    threat = content["threat"]
    return AuditRecord(
        attacks=attacks,
        groups={
            clean_text(name): {clean_text(attack): _attack(clean_text(attack), fields) for attack, fields in by.items()}
            for name, by in content.get("groups", {}).items()
        },
        classes=classes,
        norm=clean_text(str(threat["norm"])),
        epsilon=number(threat["epsilon"]),
        fingerprint=None if (found := content["data"].get("fingerprint")) is None else clean_text(str(found)),
        **_shared(content),
    )


def read_curves(directory: Path) -> tuple[CurveRecord, ...]:
    """The curves over epsilon in a folder: its `curve.json`, or those of its subfolders, one per norm.

    Raises:
        InputError: a file has an invalid format.
    """
    single = directory / "curve.json"
    paths = [single] if single.is_file() else sorted(directory.glob("curve-*/curve.json"))
    return tuple(_parsed(path, CURVE_SCHEMA, _parsed_curve) for path in paths)


def _parsed_curve(content: Mapping[str, Any]) -> CurveRecord:
    points = content["points"]
    if not points:
        raise ValueError("it has no points")
    return CurveRecord(
        norm=clean_text(str(content["norm"])),
        epsilons=tuple(number(point["epsilon"]) for point in points),
        points=tuple(_attack("all", point) for point in points),
        attacks=tuple(clean_text(str(name)) for name in content["attacks"]),
        **_shared(content),
    )


def _shared(content: Mapping[str, Any]) -> dict[str, Any]:
    """The common fields of audits and curves."""
    data = content["data"]
    keys = (
        "model",
        "data",
        "threat",
        "norm",
        "seed",
        "engine",
        "block_size",
        "level",
        "interval_method",
        "environment",
    )
    return {
        "data": clean_text(f"{data['name']} ({data['split']})" if data.get("split") else str(data["name"])),
        "n": int(data["n"]),
        "level": number(content.get("level", 0.95)),
        "warnings": tuple(clean_text(str(warning)) for warning in content.get("warnings", ())),
        "settings": tuple(_flat({key: content[key] for key in keys if key in content})),
    }


def _attack(name: str, fields: Mapping[str, Any]) -> AttackAccuracies:
    try:
        check_estimates(fields)
        found = fields.get("confusion")
        confusion = None if found is None else Confusion.from_json(found, len(fields["classes"]))
    except ValueError as error:
        raise ValueError(f"under {name} {error}") from None
    classes = tuple(
        ClassAccuracy(name=clean_text(str(c["name"])), n=int(c["n"]), correct=int(c["correct"]), accuracy=_estimate(c))
        for c in fields["classes"]
    )
    gap, deviation, tenth = (fields.get(key) for key in ("gap", "deviation", "worst_tenth"))
    return AttackAccuracies(
        name=name,
        average=_estimate(fields["average"]),
        balanced=_estimate(fields["balanced"]),
        worst=_estimate(fields["worst"]),
        worst_class=clean_text(str(fields["worst"]["class"])),
        gap=None if gap is None else _estimate(gap),
        best_class="" if gap is None else clean_text(str(gap["best"])),
        deviation=None if deviation is None else _estimate(deviation),
        tenth=None if tenth is None else _estimate(tenth),
        tenth_classes=() if tenth is None else tuple(clean_text(str(c)) for c in tenth["classes"]),
        classes=classes,
        confusion=confusion,
    )


def _estimate(fields: Mapping[str, Any]) -> IntervalEstimate:
    return IntervalEstimate(value=number(fields["value"]), low=number(fields["low"]), high=number(fields["high"]))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted key, text) rows; lists and versions take one row, class names are omitted."""
    rows: list[tuple[str, str]] = []
    for key, value in fields.items():
        path = f"{prefix}{key}"
        if key == "packages" and isinstance(value, Mapping):
            versions = [f"{name} {version}" for name, version in value.items() if version is not None]
            rows.append((clean_text(path), clean_text(", ".join(versions))))
        elif isinstance(value, Mapping):
            rows += _flat(value, f"{path}.")
        elif path != "data.classes" and value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((clean_text(path), clean_text(text)))
    return rows


# --- metrics.jsonl ---------------------------------------------------------------------------------------------------


def _training(path: Path, num_classes: int) -> TrainingLog | None:
    if not path.is_file():
        return None
    try:
        return _training_log(path, num_classes)
    except InputError:
        raise
    except MISFIT as error:
        raise InputError(f"{path} has records that do not fit a run's log ({error!r}); the file is damaged") from None


def _training_log(path: Path, num_classes: int) -> TrainingLog | None:
    epochs: list[Mapping[str, Any]] = []
    batches: list[Mapping[str, Any]] = []
    notes: list[str] = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for position, line in enumerate(lines, start=1):
        try:
            record = parse_json(line)
        except ValueError:
            if position == len(lines):
                break  # The last line of a killed run may be incomplete.
            raise InputError(f"line {position} of {path} is not JSON; the file is damaged") from None
        event = record.get("event") if isinstance(record, dict) else None
        if event in ("epoch", "batch"):
            (epochs if event == "epoch" else batches).append(record)
        elif event == "end":
            notes = [clean_text(str(note)) for note in record.get("notes") or ()]
    by_epoch: dict[Any, list[Mapping[str, Any]]] = {}
    for record in batches:
        by_epoch.setdefault(record.get("epoch"), []).append(record)
    weighted, period = weighted_records(batches, epochs, num_classes)
    weights = [[number(weight) for weight in record["weights"]] for record in weighted]
    if not epochs and not weighted:
        return None
    return TrainingLog(
        epochs=tuple(_epoch(record, by_epoch.get(record["epoch"], [])) for record in epochs),
        period=period,
        steps=positions(weighted, period),
        weights=np.array(weights, dtype=np.float64).reshape(-1, num_classes),
        vectors=read_class_vectors(weighted, epochs, num_classes, period),
        notes=tuple(notes),
    )


def _epoch(record: Mapping[str, Any], batches: Sequence[Mapping[str, Any]]) -> Epoch:
    select = record.get("select") or {}
    return Epoch(
        number=int(record["epoch"]),
        learning_rate=number(record.get("lr")),
        loss=number(record["loss"]) if "loss" in record else _mean(batches, "loss"),
        accuracy=_mean(batches, "accuracy"),
        average=number(select.get("average")),
        worst=number(select.get("worst")),
    )


def _mean(records: Sequence[Mapping[str, Any]], key: str) -> float:
    values = [number(record.get(key)) for record in records]
    return sum(values) / len(values) if values else math.nan
