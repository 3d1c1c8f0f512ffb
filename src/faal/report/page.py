"""`report.html`: a single file that opens offline, written only from a run's files."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from faal.errors import InputError, permitted, refuse_unwritable
from faal.report import wording
from faal.report.charts import svg
from faal.report.elements import Measure, Page, Section, Tile, measure
from faal.report.files.changes import Changes
from faal.report.files.demo import ROLES, is_demo, read_demo
from faal.report.files.read import read_curves, read_run
from faal.report.files.run import AttackAccuracies, RunFiles
from faal.report.files.text import clean_text
from faal.report.sections import common, many
from faal.report.sections import demo as demo_section
from faal.report.sections.classes import classes_section
from faal.report.sections.confusion import confusion_section
from faal.report.sections.curve import curve_page, curve_section
from faal.report.sections.groups import group_sections
from faal.report.sections.training import training_section
from faal.report.sections.warnings import incomparable, run_warnings

FOLDER = Path(__file__).parent

AUDIT = "audit.json"

MANY_RUNS = 3
"""A page of at least this many runs compares them in tables and small multiples, without the details of each."""


@permitted()
def write_report(
    directories: Sequence[Path],
    *,
    out: Path | None = None,
    title: str | None = None,
    names: Sequence[str] | None = None,
    comparison: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of a run, a comparison of several runs, a demo, or a curve over epsilon.

    Args:
        directories: runs' folders, each with an `audit.json`, or folders of such folders; the first of two is `before`,
            the last `after`. Or a single folder of a demo or of a curve over epsilon.
        out: the file to write; by default `report.html` in the folder, or `comparison.html` in the last of several.
        title: the page's title.
        names: the runs' names on the page; by default those of their folders.
        comparison: the last run compared with the first, in the plain values of `faal compare`; without it the page
            states no difference of the two.

    Returns:
        The file written; the same files produce the same bytes.

    Raises:
        InputError: files are missing, damaged or do not belong together; then nothing is written.
    """
    if not directories:
        raise InputError("there is nothing to report; name the folder of a run")
    folders = [folder for directory in directories for folder in _runs_in(Path(directory))]
    if names is not None and len(names) != len(folders):
        raise InputError(f"{len(names)} names were given for {len(folders)} folders; give one for each")
    path = out or Path(directories[-1]) / ("report.html" if len(folders) == 1 else "comparison.html")
    if out is not None or path.parent.is_dir():  # otherwise it is not a run's folder, which `read_run` reports
        refuse_unwritable(path.parent, "name another file")
    if path.exists() and not _is_page(path):
        raise InputError(f"{path} exists, is not a report, and is not overwritten; name another file")
    if len(folders) == 1 and is_demo(folders[0]):
        page = demo_page(folders[0], title=title)
    elif len(folders) == 1 and not (folders[0] / AUDIT).is_file() and (curves := read_curves(folders[0])):
        name = names[0] if names else folders[0].resolve().name
        page = curve_page(curves, name=clean_text(name), title=clean_text(title) if title else None)
    else:
        changes = None if comparison is None else Changes.of(comparison)
        page = runs_page(folders, title=title, names=names, changes=changes)
    text = render(page)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # an earlier page is not lost if the disk is full
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another file") from None
    finally:
        with suppress(OSError):  # left by an error or an interrupt; after a success there is none
            part.unlink()
    return path


def _is_page(path: Path) -> bool:
    """Whether a file is a page or empty, and so may be overwritten; no file of a run is."""
    try:
        with path.open("rb") as file:
            head = file.read(64).strip().lower()
    except OSError:
        return False
    return not head or head.startswith(b"<!doctype html")


def _runs_in(directory: Path) -> list[Path]:
    """The folder itself, or if it has nothing to report, the audited folders in it."""
    if (directory / AUDIT).is_file() or is_demo(directory) or read_curves(directory):
        return [directory]
    found = sorted(path.parent.relative_to(directory) for path in directory.rglob(AUDIT))
    audited = [folder for folder in found if not any(part.startswith("curve-") for part in folder.parts)]
    return [directory / folder for folder in audited] or [directory]


def runs_page(
    folders: Sequence[Path], *, title: str | None, names: Sequence[str] | None, changes: Changes | None = None
) -> Page:
    """The page of one run, or of a comparison."""
    for folder in folders:
        if is_demo(folder):
            raise InputError(f"{folder} is a demo's folder; name only this folder, or runs within it")
    runs = [read_run(folder, name=name) for folder, name in zip(folders, names or _names(folders), strict=True)]
    attacks, chosen = _attacks(runs)
    parts: list[Section | None]
    if len(runs) >= MANY_RUNS:
        parts = [
            many.overview_section(runs, attacks, chosen),
            many.panels_section(runs, chosen),
            common.coverage_section(runs[0].audit.level),
            many.settings_section(runs),
        ]
    else:
        curves = [
            curve_section(curve, name=f"curve-{i}-{j}", run=run.name if len(runs) > 1 else "")
            for i, run in enumerate(runs)
            for j, curve in enumerate(run.curves)
        ]
        parts = [common.attacks_section(runs, attacks), *curves, *_shared(runs, attacks, chosen, changes)]
    lead = [] if incomparable(runs) else [_lead(runs, attacks, chosen)]
    if len(runs) > 1:
        lead.append("These are single models, not methods: training with another seed results in other accuracies.")
    if changes is not None:
        lead.append(changes.conclusion)
    return Page(
        title=clean_text(title) if title else f"Audit of {_title(runs)}",
        headline=_headline(runs, chosen, changes),
        lead=lead,
        warnings=run_warnings(runs, chosen),
        tiles_note=f"{wording.attack_name(chosen)}, with {100 * runs[0].audit.level:g}{wording.NBSP}% intervals",
        tiles=_tiles(runs, chosen) if len(runs) < MANY_RUNS else [],
        sections=[part for part in parts if part is not None],
    )


def demo_page(folder: Path, *, title: str | None) -> Page:
    """The demo's page: the means over seeds, then all results of the first seed's models."""
    demo = read_demo(folder)
    runs = [demo.first[role] for role in ROLES]
    attacks, chosen = _attacks(runs)
    level = runs[0].audit.level
    means = demo_section.means(demo, level)
    differences = {
        field: demo_section.difference(demo, "repaired", "base", field, level) for field, _ in demo_section.FIELDS
    }
    seeds = len(demo.seeds)
    lead = [
        f"{runs[0].audit.n:,} images of {runs[0].audit.data}; {wording.threat(runs[0].audit)}.",
        *demo_section.paired(demo, level),
    ]
    first = Section(
        heading=f"All results of seed {demo.seeds[0]}",
        text=["The sections below report the three models of one seed. Their intervals cover the test sample only."],
    )
    parts = [
        demo_section.seeds_section(demo, level),
        first,
        common.attacks_section(runs, attacks),
        *_shared(runs, attacks, chosen, None, notes=demo_section.duration(demo)),
    ]
    over = (
        f"mean over {seeds} training seeds, with {100 * level:g}{wording.NBSP}% t intervals"
        if seeds > 1
        else "one training seed"
    )
    return Page(
        title=clean_text(title) if title else "Repairing the worst class",
        headline=wording.demo_headline(means, differences, seeds),
        lead=lead,
        warnings=run_warnings(runs, chosen),
        tiles_note=f"Robust accuracy under PGD-20 and CW-20 with five random starts each, {over}",
        tiles=demo_section.tiles(demo, level),
        sections=[part for part in parts if part is not None],
    )


def render(page: Page) -> str:
    """The page as HTML. All text from files is escaped; the drawings are escaped by `svg.svg`."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (FOLDER / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        page=page,
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        drawing=Markup,
    )


# --- parts common to the pages ---------------------------------------------------------------------------------------


def _shared(
    runs: Sequence[RunFiles],
    attacks: Sequence[str],
    chosen: str,
    changes: Changes | None,
    *,
    notes: Sequence[str] = (),
) -> list[Section | None]:
    return [
        classes_section(runs, attacks, chosen, changes),
        *group_sections(runs, attacks, chosen),
        confusion_section(runs, attacks, chosen),
        common.examples_section(runs, chosen),
        *(training_section(run, name=f"training-{i}", closed=i < len(runs) - 1) for i, run in enumerate(runs)),
        common.coverage_section(runs[0].audit.level),
        common.settings_section(runs, notes),
    ]


def _attacks(runs: Sequence[RunFiles]) -> tuple[list[str], str]:
    """The common attacks of all runs, and the one that the page reports first."""
    for run in runs[1:]:
        if run.audit.classes != runs[0].audit.classes:
            raise InputError(
                f"{runs[0].name} and {run.name} have different classes; compare models of the same classes"
            )
    attacks = wording.common_attacks([run.audit for run in runs])
    if not attacks:
        raise InputError(
            f"{wording.listing([r.name for r in runs])} have no attack in common; audit them with the same --attacks"
        )
    return attacks, wording.strongest(attacks)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as make them distinct; equal paths are numbered."""
    parts = [folder.resolve().parts for folder in folders]
    depth = 1
    while len({path[-depth:] for path in parts}) < len(set(parts)):
        depth += 1
    names = ["/".join(path[-depth:]) for path in parts]
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _title(runs: Sequence[RunFiles]) -> str:
    return wording.listing([run.name for run in runs]) if len(runs) < MANY_RUNS else f"{len(runs)} models"


def _headline(runs: Sequence[RunFiles], chosen: str, changes: Changes | None) -> str:
    attacks = [run.audit.attacks[chosen] for run in runs]
    if len(runs) == 1:
        return wording.headline(attacks[0])
    names = [run.name for run in runs]
    if incomparable(runs):
        return wording.incomparable_headline(names, attacks)
    if len(runs) >= MANY_RUNS:
        return wording.best_headline(names, attacks)
    found = None if changes is None else changes.attacks.get(chosen)
    return wording.comparison_headline(attacks[0], attacks[-1], found)


def _lead(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str) -> str:
    audit = runs[-1].audit
    names = [wording.attack_name(name) for name in attacks if name not in ("clean", "all")]
    under = "both" if len(names) == 2 else "all of them"
    joined = f" (robust: predicted correctly under {under})" if chosen == "all" and len(names) > 1 else ""
    attacked = f"{wording.listing(names)}{joined}; {wording.threat(audit)}; " if names else ""
    return f"{attacked}{audit.n:,} images of {audit.data}."


def _tiles(runs: Sequence[RunFiles], chosen: str) -> list[Tile]:
    tiles = []
    for i, run in enumerate(runs):
        attack = run.audit.attacks[chosen]
        measures = [measure(f"Worst class, “{attack.worst_class}”", attack.worst), measure("Average", attack.average)]
        if chosen != "clean" and "clean" in run.audit.attacks:
            measures.append(measure("Average without attack", run.audit.attacks["clean"].average))
        measures += _dispersion(attack)
        tiles.append(Tile(name=run.name, colour=svg.SERIES.index(svg.series_colour(i, len(runs))), measures=measures))
    return tiles


def _dispersion(attack: AttackAccuracies) -> list[Measure]:
    """The worst tenth of many classes, or the gap of few."""
    if attack.tenth is not None:
        return [measure(f"Worst tenth, {len(attack.tenth_classes)} classes", attack.tenth)]
    label = f"Gap from “{attack.worst_class}” to “{attack.best_class}”"
    return [] if attack.gap is None else [measure(label, attack.gap, "points")]
