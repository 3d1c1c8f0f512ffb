"""The command `faal reproduce`: from its arguments to the finished tables."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from faal import checkpoint
from faal.data import DataSet, fingerprint
from faal.engine.writers.lock import folder_lock
from faal.engine.writers.temporary import sweep
from faal.errors import InputError, refuse_unwritable, unknown
from faal.models.zoo import read_card, zoo_name
from faal.study.reproduce.output.progress import ProgressReporter
from faal.study.reproduce.plan import PlannedRun, PublishedBase, plan
from faal.study.reproduce.results import record_or_check
from faal.study.reproduce.rows import Row, TableSpec
from faal.study.reproduce.scales import Scale, protocol_named, required_data, scale_named, setting_of
from faal.study.reproduce.table4.output import write_costs
from faal.study.reproduce.table4.timing import measure
from faal.study.reproduce.tables import find
from faal.study.reproduce.theorem1.output import theorem1
from faal.study.reproduce.workers.job import WorkContext, data_of, open_published
from faal.study.reproduce.workers.pool import default_workers, run_all

WRITING = ("log_every", "checkpoint_every")
"""Settings of how often a run writes; they do not change the network."""


@dataclass(frozen=True, kw_only=True)
class ReproduceResult:
    """The outcome of `reproduce`."""

    page: Path
    """The table in Markdown."""
    failed: Mapping[str, str]
    """Work item -> the reason why it failed."""


def reproduce(
    what: str,
    *,
    data: str | None = None,
    scale: str = "tiny",
    protocol: str = "honest",
    seeds: int = 1,
    workers: int | None = None,
    out: Path | None = None,
    device: torch.device,
    bases: Sequence[str] = (),
    models: Sequence[str] = (),
) -> ReproduceResult:
    """Reproduce a table, a figure or a row of the paper; continue where an earlier call stopped.

    Any number of calls with the same arguments, on machines that share the folder, share the work.

    Args:
        what: `table1` to `table4`, `figure1` to `figure3`, `theorem1`; TABLE/ROW, or a row's name or method.
        data: as after `--data`; None for digits, `table4` and `theorem1`.
        scale: `paper`, `small` or `tiny`.
        protocol: `honest`, or `published` with each method's published settings.
        seeds: training seeds 1 to this.
        workers: processes on this machine; one for each core, or each GPU, if None.
        out: the folder; reproduce/SCALE-PROTOCOL if None.
        device: the device to run on.
        bases: NAME=FILE or NAME=FILE:NORMALIZE, a published checkpoint that replaces the base NAME; FILE may be
            zoo:NETWORK.
        models: the networks of published checkpoints, NAME=MODEL, or MODEL where one base is given: such as
            `module:function`, which is never imported only because a checkpoint names it.

    Raises:
        InputError: an argument is invalid, or the folder contains another reproduction.
    """
    size, protocol = scale_named(scale), protocol_named(protocol)
    for name, count in {"--seeds": seeds, "--workers": workers}.items():
        if count is not None and count < 1:
            raise InputError(f"{name} is at least 1, not {count}")
    folder = out or Path("reproduce") / f"{scale}-{protocol}"
    refuse_unwritable(folder)
    if what == "theorem1":
        with folder_lock(folder):
            return ReproduceResult(page=theorem1(folder, seeds=range(1, seeds + 1))[0], failed={})
    if what == "table4":
        with folder_lock(folder):
            record_or_check(folder, "reproduction", {"scale": scale, "protocol": protocol})
            costs, notes = measure(size, protocol, device)
            return ReproduceResult(page=write_costs(folder, costs, scale=size.name, notes=notes)[0], failed={})

    table, rows = find(what)
    spec = required_data(table, size, data)
    published = published_bases(bases, table, models)
    dataset = data_of(spec)
    for each in (folder, folder / "results"):
        sweep(each)
    record_or_check(folder, "reproduction", {"scale": scale, "protocol": protocol})
    _check_data(folder, dataset)
    _check_bases(folder, table, rows, size, published)
    assert dataset.train is not None  # `_check_data` requires it
    items = plan(
        folder, table, rows, size, protocol,
        seeds=seeds, counts=dataset.train.counts(dataset.num_classes), published=published,
    )  # fmt: skip
    for item in items:
        _check_recipe(folder, item.run)
        if item.run.published is not None and not item.run.trained.exists():
            # An invalid checkpoint is rejected before any training.
            open_published(item.run.published, item.run.recipe, dataset)
            _refuse_own_copy(item.run.published.file, item.run.folder / "best.pt")
    context = WorkContext(
        out=folder,
        table=table,
        scale=size,
        protocol=protocol,
        data=spec,
        device=device,
        workers=workers or default_workers(device),
        seeds=seeds,
    )
    with ProgressReporter(context, items, dataset.classes) as progress:
        failed = run_all(context, items, on_poll=progress.update)
    return ReproduceResult(page=folder / f"{table.name}.md", failed=failed)


def published_bases(texts: Sequence[str], table: TableSpec, models: Sequence[str] = ()) -> dict[str, PublishedBase]:
    """Parse `--base` and `--model`: base row -> published checkpoint.

    Raises:
        InputError: a text is not NAME=FILE or NAME=FILE:NORMALIZE, a row is not a base, a file does not exist, or a
            network is named for a base that no text names.
    """
    known = _starts(table.rows)
    if texts and not known:
        raise InputError(f"{table.name} has no fine-tunes; leave out --base, or use it with table1, table3 or figure2")
    found: dict[str, PublishedBase] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals or not name or not rest:
            raise InputError(f"--base is NAME=FILE or NAME=FILE:NORMALIZE, such as trades=trades.pt:none, not {text!r}")
        if name not in known:
            raise unknown(f"base of {table.name}", name, known)
        if name in found:
            raise InputError(f"--base names {name} twice; give it one checkpoint")
        exists = Path(rest).exists()  # its name may contain a colon
        if (network := zoo_name(rest)) is not None and not exists:
            found[name] = PublishedBase(file=Path(rest), normalize="none", sha256=str(read_card(network)["sha256"]))
            continue
        file, _, normalize = (rest, "", "") if exists else rest.partition(":")
        if not Path(file).is_file():
            raise InputError(f"--base {text}: there is no file {file}; name the checkpoint's path")
        found[name] = PublishedBase(
            file=Path(file), normalize=normalize or "none", sha256=checkpoint.digest(Path(file))
        )
    for text in models:
        name, _, model = text.rpartition("=")
        if not name and len(found) == 1:
            (name,) = found
        if name not in found or not model:
            bases = ", ".join(found) or "none"
            raise InputError(
                f"--model is NAME=MODEL for a base that --base names ({bases}), such as trades=mymodels:net, "
                f"not {text!r}"
            )
        found[name] = replace(found[name], model=model)
    return found


def _refuse_own_copy(file: Path, copy: Path) -> None:
    """Raise InputError where a published checkpoint has the path of its own copy."""
    if copy.is_file() and file.is_file() and copy.samefile(file):
        raise InputError(f"{file} would be overwritten by its copy; move it, or choose another folder with --out")


def _check_data(folder: Path, data: DataSet) -> None:
    if data.train is None or data.test is None:
        raise InputError(f"{data.name} needs training and test images for a table")
    name = re.sub(r"\W+", "-", data.name)
    values = {f"{data.name}, {part} images": fingerprint(split) for part, split in
             (("training", data.train), ("test", data.test))}  # fmt: skip
    record_or_check(folder, f"data-{name}", values)


def _check_bases(
    folder: Path, table: TableSpec, rows: Sequence[Row], scale: Scale, published: Mapping[str, PublishedBase]
) -> None:
    """Check that a base has the same origin for all rows of the folder: trained here, or one published checkpoint."""
    for name in _starts(table.rows):
        if not any(name in (row.name, row.start) for row in rows):
            continue
        values = {f"the base {name}": published[name].sha256 if name in published else "trained here"}
        record_or_check(folder, f"base-{setting_of(table, scale)}-{name}", values)


def _check_recipe(folder: Path, run: PlannedRun) -> None:
    """Check that a row has the recipe of the earlier calls: a later version of the program may ship another."""
    values = {name: value for name, value in run.recipe.plain().items() if name not in WRITING}
    record_or_check(folder, f"recipes/{run.folder.parent.parent.name}/{run.row.name}", json.loads(json.dumps(values)))


def _starts(rows: Sequence[Row]) -> list[str]:
    """The names of the rows that others start from."""
    return list(dict.fromkeys(row.start for row in rows if row.start is not None))
