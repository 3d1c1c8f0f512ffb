"""`faal reproduce`: all of it, from what is asked for to the tables."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from faal import checkpoint
from faal.data import DataSet, fingerprint
from faal.errors import InputError, refuse_unwritable, unknown
from faal.models.zoo import read_card, zoo_name
from faal.study.reproduce.output.progress import Watch
from faal.study.reproduce.plan import Given, Run, plan
from faal.study.reproduce.results import settle
from faal.study.reproduce.rows import Row, Table
from faal.study.reproduce.scales import Scale, check_protocol, data_wanted, scale_named, setting_of
from faal.study.reproduce.table4.output import write_costs
from faal.study.reproduce.table4.timing import measure
from faal.study.reproduce.tables import find
from faal.study.reproduce.theorem1.output import theorem1
from faal.study.reproduce.workers.job import Study, data_of, open_given
from faal.study.reproduce.workers.pool import default_workers, work_together

WRITING = ("log_every", "checkpoint_every")
"""How often a run writes makes no other network of it."""


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """What came of it."""

    page: Path
    """The table in Markdown."""
    failed: Mapping[str, str]
    """Work that failed, and why."""


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
) -> Reproduced:
    """Make a table, a figure or a row of the paper, or go on where an earlier call stopped.

    Any number of calls with the same arguments, on machines that share the folder, do it together.

    Args:
        what: `table1` to `table4`, `figure1` to `figure3`, `theorem1`; TABLE/ROW, or a row's name or method.
        data: as after `--data`; not needed for what needs none.
        scale: `paper`, `small` or `tiny`.
        protocol: `honest`, or `published` with each method's published quirks.
        seeds: training seeds 1 to this.
        workers: processes here; one for each core, or each GPU, if None.
        out: the folder; reproduce/SCALE-PROTOCOL if None.
        device: where to run.
        bases: NAME=FILE or NAME=FILE:NORMALIZE, a published checkpoint in the place of the base NAME; FILE may be
            zoo:NETWORK.
        models: the networks of published checkpoints, NAME=MODEL, or MODEL where one base is given: such as
            `module:function`, which no checkpoint makes us import by itself.

    Raises:
        InputError: something of this is wrong, or the folder holds another reproduction.
    """
    size = scale_named(scale)
    check_protocol(protocol)
    for name, count in {"--seeds": seeds, "--workers": workers}.items():
        if count is not None and count < 1:
            raise InputError(f"{name} is at least 1, not {count}")
    folder = out or Path("reproduce") / f"{scale}-{protocol}"
    refuse_unwritable(folder)
    if what == "theorem1":
        return Reproduced(page=theorem1(folder, seeds=range(1, seeds + 1))[0], failed={})
    if what == "table4":
        settle(folder, "reproduction", {"scale": scale, "protocol": protocol})
        costs, notes = measure(size, protocol, device)
        return Reproduced(page=write_costs(folder, costs, scale=scale, notes=notes)[0], failed={})

    table, rows = find(what)
    spec = data_wanted(table, size, data)
    given = given_bases(bases, table, models)
    dataset = data_of(spec)
    settle(folder, "reproduction", {"scale": scale, "protocol": protocol})
    _settle_data(folder, dataset)
    _settle_bases(folder, table, rows, size, given)
    assert dataset.train is not None  # checked with its fingerprint
    items = plan(
        folder, table, rows, size, protocol,
        seeds=seeds, counts=dataset.train.counts(dataset.num_classes), given=given,
    )  # fmt: skip
    for item in items:
        _settle_recipe(folder, item.run)
        if item.run.given is not None and not item.run.trained.exists():
            open_given(item.run.given, item.run.recipe, dataset)  # what is wrong with it is said at once
    study = Study(
        out=folder,
        table=table,
        scale=size,
        protocol=protocol,
        data=spec,
        device=device,
        workers=workers or default_workers(device),
        seeds=seeds,
    )
    with Watch(study, items, dataset.classes) as watch:
        failed = work_together(study, items, look=watch.look)
    return Reproduced(page=folder / f"{table.name}.md", failed=failed)


def given_bases(texts: Sequence[str], table: Table, models: Sequence[str] = ()) -> dict[str, Given]:
    """The published checkpoints by the rows in whose place they stand.

    Raises:
        InputError: a text that is not NAME=FILE or NAME=FILE:NORMALIZE, a row that is no base, no such file; a network
            for a base that is not given.
    """
    known = _starts(table.rows)
    if texts and not known:
        raise InputError(f"{table.name} fine-tunes nothing; leave out --base, or take it to table1, table3 or figure2")
    found: dict[str, Given] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals or not name or not rest:
            raise InputError(f"--base is NAME=FILE or NAME=FILE:NORMALIZE, such as trades=trades.pt:none, not {text!r}")
        if name not in known:
            raise unknown(f"base of {table.name}", name, known)
        if name in found:
            raise InputError(f"--base names {name} twice; give it one checkpoint")
        whole = Path(rest).exists()  # a name with a colon in it
        if (published := zoo_name(rest)) is not None and not whole:
            found[name] = Given(file=Path(rest), normalize="none", sha256=str(read_card(published)["sha256"]))
            continue
        file, _, normalize = (rest, "", "") if whole else rest.partition(":")
        if not Path(file).is_file():
            raise InputError(f"--base {text}: there is no file {file}; give the checkpoint's path")
        found[name] = Given(file=Path(file), normalize=normalize or "none", sha256=checkpoint.digest(Path(file)))
    for text in models:
        name, _, model = text.rpartition("=")
        if not name and len(found) == 1:
            (name,) = found
        if name not in found or not model:
            given = ", ".join(found) or "none"
            raise InputError(
                f"--model is NAME=MODEL for a base that --base gives ({given}), such as trades=mymodels:net, "
                f"not {text!r}"
            )
        found[name] = replace(found[name], model=model)
    return found


def _settle_data(folder: Path, data: DataSet) -> None:
    if data.train is None or data.test is None:
        raise InputError(f"{data.name} needs training and test images for a table")
    name = re.sub(r"\W+", "-", data.name)
    facts = {f"{data.name}, {part} images": fingerprint(split) for part, split in
             (("training", data.train), ("test", data.test))}  # fmt: skip
    settle(folder, f"data-{name}", facts)


def _settle_bases(folder: Path, table: Table, rows: Sequence[Row], scale: Scale, given: Mapping[str, Given]) -> None:
    """A base is either trained here or one published checkpoint, for all rows of the folder that start from it."""
    for name in _starts(table.rows):
        if not any(name in (row.name, row.start) for row in rows):
            continue
        facts = {f"the base {name}": given[name].sha256 if name in given else "trained here"}
        settle(folder, f"base-{setting_of(table, scale)}-{name}", facts)


def _settle_recipe(folder: Path, run: Run) -> None:
    """A row is of one recipe, whatever a later version of the program ships."""
    facts = {name: value for name, value in run.recipe.plain().items() if name not in WRITING}
    settle(folder, f"recipes/{run.folder.parent.parent.name}/{run.row.name}", json.loads(json.dumps(facts)))


def _starts(rows: Sequence[Row]) -> list[str]:
    """The names of the rows that others start from."""
    return list(dict.fromkeys(row.start for row in rows if row.start is not None))
