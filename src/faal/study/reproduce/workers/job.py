"""The doing of one piece of work: a network is trained or taken in, or judged and its record written."""

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
from faal.errors import InputError
from faal.methods import epochs_of_training
from faal.models import Architecture, LoadedModel, build_model, open_model
from faal.models.zoo import zoo_name
from faal.reading import read_tensors
from faal.study.reproduce.plan import Given, Item, Run
from faal.study.reproduce.results import write_record
from faal.study.reproduce.rows import Record, Table
from faal.study.reproduce.scales import Scale, attacks_of
from faal.train.loop import train


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all the work of one call has in common."""

    out: Path
    table: Table
    scale: Scale
    protocol: str
    data: str
    """As after `--data`."""
    device: torch.device
    workers: int
    """Processes at work on this machine, for the record."""
    seeds: int


@lru_cache(maxsize=1)
def data_of(spec: str) -> DataSet:
    """The data, read once in each process."""
    return load_data(spec)


def carry_out(item: Item, study: Study) -> None:
    """Do a piece of work; afterwards the file that it makes is there.

    Raises:
        InputError: training diverged, or a file does not fit or cannot be written.
    """
    if item.judges:
        write_record(study.out, judged(item.run, study))
        return
    run = item.run
    told = _take_in(run, run.given, study) if run.given is not None else _train(run, study)
    checkpoint.write_whole(run.trained, json.dumps(told, indent=1, ensure_ascii=False).encode())


def _train(run: Run, study: Study) -> dict[str, Any]:
    """Train a run, or go on with it; what there is to tell."""
    data, recipe = data_of(study.data), run.recipe
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
        net, architecture, data, recipe, out=run.folder, seed=run.seed, device=study.device, origin=origin, quiet=True,
        keep=run.keep, fork=fork and fork[0],
    )  # fmt: skip
    notes = [outcome.note] if outcome.note else []
    if fork is not None:
        notes.append(f"Up to epoch {fork[1]} it is the plain method's run of the same seed, trained once")
    return {"epochs": epochs_of_training(recipe), "from": fork[1] if fork else 0, "note": notes}


def _take_in(run: Run, given: Given, study: Study) -> dict[str, Any]:
    """Keep a published checkpoint as if it had been trained here, in the form of our own; what there is to tell."""
    data = data_of(study.data)
    opened = open_given(given, run.recipe, data)
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
        f"The checkpoint {given.file.name} (SHA-256 {given.sha256[:12]}, normalisation {given.normalize}) was judged "
        "as it is, not trained here"
    )
    if opened.trained and opened.threat != run.recipe.threat:
        note += f"; it was trained against {opened.threat} and is judged against {run.recipe.threat}"
    loaded = opened.notes if given.model is not None else []  # that another network was named is among them
    return {"epochs": 0, "from": 0, "note": [note, *loaded]}


def open_given(given: Given, recipe: Recipe, data: DataSet) -> LoadedModel:
    """A published checkpoint, of ours or foreign; a foreign one is of the network that the call names, or the recipe's.

    Raises:
        InputError: it does not read, or does not fit.
    """
    if zoo_name(given.file) is not None:
        return open_model(given.file, data, model=given.model)
    content = read_tensors(given.file)
    if isinstance(content, dict) and content.get("format") == checkpoint.FORMAT:
        return open_model(given.file, data, model=given.model, normalize=given.normalize)
    if given.model is not None:
        return open_model(given.file, data, model=given.model, normalize=given.normalize)
    return open_model(
        given.file, data, model=recipe.model, width=recipe.width, depth=recipe.depth, normalize=given.normalize
    )


def judged(run: Run, study: Study) -> Record:
    """The audit of a run's network on the test images, as a record."""
    data = data_of(study.data)
    if data.test is None:
        raise InputError(f"{study.data} has no test images; a table needs some")
    opened = open_model(run.folder, data, model=run.model)
    threat = run.recipe.threat  # of a table's rows one is as the other
    result = audit(
        opened.net.to(study.device),
        data.test.images,
        data.test.labels,
        classes=data.classes,
        attacks=attacks_of(study.table, study.scale),
        epsilon=threat.epsilon,
        norm=threat.norm,
        limit=study.scale.limit,
        out=run.folder,
        model_record={"name": run.row.name, **opened.record},
        data_record={"name": data.name, "split": "test"},
    )
    told = json.loads(run.trained.read_text(encoding="utf-8"))
    versions = environment(study.device)
    return Record(
        what=study.table.name,
        row=run.row.name,
        seed=run.seed,
        scale=study.scale.name,
        protocol=study.protocol,
        method=run.row.method,
        epochs=told["epochs"],
        seconds_per_epoch=_seconds_per_epoch(run.folder, told["from"]),
        workers=study.workers,
        attacks={name: _figures(found) for name, found in result.attacks.items()},
        n=int(result.data["n"]),
        note=[*told["note"], *result.warnings],
        commit=versions["commit"],
        environment={name: value for name, value in versions.items() if name not in ("command", "commit")},
    )


def _figures(found: AttackResult) -> dict[str, Any]:
    return {
        "average": found.average.value,
        "worst": found.worst.value,
        "worst_class": found.worst.name,
        "classes": [each.value for each in found.classes],
    }


def _seconds_per_epoch(folder: Path, first: int) -> float | None:
    """The mean over the epochs from `first` on, by the run's log; None where it trained none."""
    log = folder / "metrics.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    entries = [json.loads(line) for line in lines if '"event": "epoch"' in line]
    seconds = [entry["seconds"] for entry in entries if entry["epoch"] >= first]
    return round(sum(seconds) / len(seconds), 2) if seconds else None
