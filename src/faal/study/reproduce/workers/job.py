"""Execution of one work item: train or import a network, or audit it and write its record."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from faal import checkpoint
from faal.audit import audit
from faal.audit.records.result import AttackResult
from faal.config import Recipe
from faal.data import DataSet, load_data
from faal.engine.environment import environment
from faal.engine.writers.lock import folder_lock
from faal.errors import MISFIT, InputError, first_line
from faal.methods import epochs_of_training
from faal.models import Architecture, LoadedModel, build_model, open_model
from faal.models.zoo import zoo_name
from faal.reading import read_tensors
from faal.study.reproduce.plan import PlannedRun, PublishedBase, WorkItem
from faal.study.reproduce.results import write_record
from faal.study.reproduce.rows import Record, TableSpec
from faal.study.reproduce.scales import ProtocolName, Scale, attacks_of
from faal.train.loop import train


@dataclass(frozen=True, kw_only=True)
class WorkContext:
    """Settings shared by all work items of one call."""

    out: Path
    table: TableSpec
    scale: Scale
    protocol: ProtocolName
    data: str
    """As after `--data`."""
    device: torch.device
    workers: int
    """Number of worker processes on this machine, for the record."""
    seeds: int


@lru_cache(maxsize=1)
def data_of(spec: str) -> DataSet:
    """The data set of a specification, read once per process."""
    return load_data(spec)


def execute(item: WorkItem, context: WorkContext) -> None:
    """Execute a work item; afterwards its output file exists.

    Raises:
        InputError: training diverged, a checkpoint does not match, or a file cannot be written.
    """
    run = item.run
    # Shared: the processes of a reproduction are separated by the claims.
    with folder_lock(run.folder, shared=True):
        if item.is_audit:
            write_record(context.out, evaluated(run, context))
            return
        summary = _import_published(run, run.published, context) if run.published is not None else _train(run, context)
        checkpoint.write_atomically(run.trained, json.dumps(summary, indent=1, ensure_ascii=False).encode())


def _train(run: PlannedRun, context: WorkContext) -> dict[str, Any]:
    """Train a run, or continue it; returns the content of `trained.json`."""
    data, recipe = data_of(context.data), run.recipe
    fork = run.fork if run.fork is not None and run.fork[0].exists() else None
    if run.start is None:
        architecture = Architecture.of(recipe, data)
        net, origin = build_model(architecture, seed=run.seed), None
    else:
        opened = open_model(run.start, data, model=run.model)
        net, architecture, origin = opened.net, opened.architecture, opened.record
        same = {name: getattr(architecture, name) for name in ("model", "width", "depth", "normalize")}
        recipe = recipe.replace(same, source="the base")
    outcome = train(
        net, architecture, data, recipe, out=run.folder, seed=run.seed, device=context.device, origin=origin,
        quiet=True, keep=run.fork_epochs, fork=fork and fork[0],
    )  # fmt: skip
    notes = [outcome.note] if outcome.note else []
    if fork is not None:
        notes.append(f"Up to epoch {fork[1]} it is the run of the plain method with the same seed, trained only once")
    return {"epochs": epochs_of_training(recipe), "from": fork[1] if fork else 0, "note": notes}


def _import_published(run: PlannedRun, base: PublishedBase, context: WorkContext) -> dict[str, Any]:
    """Store a published checkpoint in this program's format; returns the content of `trained.json`."""
    data = data_of(context.data)
    opened = open_published(base, run.recipe, data)
    state = {
        "architecture": asdict(opened.architecture),
        "classes": list(data.classes),
        "weights": opened.net.state_dict(),
        "recipe": run.recipe.replace(asdict(opened.threat), source="checkpoint").plain(),
        "held_out": {"withheld": opened.record.get("withheld", [])},
        "origin": opened.record,
    }
    checkpoint.save(run.folder / "best.pt", state)
    note = (
        f"The checkpoint {base.file.name} (SHA-256 {base.sha256[:12]}, normalisation {base.normalize}) was evaluated "
        "unchanged, not trained here"
    )
    if opened.trained and opened.threat != run.recipe.threat:
        note += f"; it was trained against {opened.threat} and is evaluated against {run.recipe.threat}"
    loaded = opened.notes if base.model is not None else []  # among them, that another network was named
    return {"epochs": 0, "from": 0, "note": [note, *loaded]}


def open_published(base: PublishedBase, recipe: Recipe, data: DataSet) -> LoadedModel:
    """Open a published checkpoint; third-party weights are of the network named in the call, or that of the recipe.

    Raises:
        InputError: it cannot be read, or does not match the network.
    """
    if zoo_name(base.file) is not None:
        return open_model(base.file, data, model=base.model)
    content = read_tensors(base.file)
    if isinstance(content, dict) and content.get("format") == checkpoint.FORMAT:
        return open_model(base.file, data, model=base.model, normalize=base.normalize)
    if base.model is not None:
        return open_model(base.file, data, model=base.model, normalize=base.normalize)
    return open_model(
        base.file, data, model=recipe.model, width=recipe.width, depth=recipe.depth, normalize=base.normalize
    )


def evaluated(run: PlannedRun, context: WorkContext) -> Record:
    """Audit a run's network on the test images; returns the record."""
    data = data_of(context.data)
    if data.test is None:
        raise InputError(f"{context.data} has no test images; a table needs some")
    opened = open_model(run.folder, data, model=run.model)
    threat = run.recipe.threat  # the same for all rows of a table
    result = audit(
        opened.net.to(context.device),
        data.test.images,
        data.test.labels,
        classes=data.classes,
        attacks=attacks_of(context.table, context.scale),
        epsilon=threat.epsilon,
        norm=threat.norm,
        limit=context.scale.limit,
        out=run.folder,
        model_record={"name": run.row.name, **opened.record},
        data_record={"name": data.name, "split": "test"},
    )
    summary = _summary(run.trained)
    versions = environment(context.device)
    return Record(
        what=context.table.name,
        row=run.row.name,
        seed=run.seed,
        scale=context.scale.name,
        protocol=context.protocol,
        method=run.row.method,
        epochs=summary["epochs"],
        seconds_per_epoch=_seconds_per_epoch(run.folder, summary["from"]),
        workers=context.workers,
        attacks={name: _accuracies(found) for name, found in result.attacks.items()},
        n=int(result.data["n"]),
        note=[*summary["note"], *result.warnings],
        commit=versions["commit"],
        environment={name: value for name, value in versions.items() if name not in ("command", "commit")},
    )


def _accuracies(found: AttackResult) -> dict[str, Any]:
    return {
        "average": found.average.value,
        "worst": found.worst.value,
        "worst_class": found.worst.name,
        "classes": [each.value for each in found.classes],
    }


def _summary(path: Path) -> dict[str, Any]:
    """The content of `trained.json`. Raises InputError."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return {"epochs": int(summary["epochs"]), "from": int(summary["from"]), "note": [*map(str, summary["note"])]}
    except (OSError, *MISFIT) as error:
        raise InputError(
            f"{path} is damaged ({first_line(error)}); remove it, and the run is completed again"
        ) from None


def _seconds_per_epoch(folder: Path, first: int) -> float | None:
    """Mean over the epochs from `first` on, from the run's log; None where there is none, or a damaged one."""
    log = folder / "metrics.jsonl"
    try:
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        entries = [json.loads(line) for line in lines if '"event": "epoch"' in line]
        seconds = [float(entry["seconds"]) for entry in entries if entry["epoch"] >= first]
    except (OSError, *MISFIT):
        return None
    return round(sum(seconds) / len(seconds), 2) if seconds else None
