"""The plain parts of the page: attack by attack, examples, provenance. The first run is `before`, the last `after`."""

from collections.abc import Sequence
from dataclasses import replace

from faal.report import wording
from faal.report.charts.images import pictures
from faal.report.charts.svg import short
from faal.report.elements import Cell, Section, Table, estimate_cell, text_cell
from faal.report.files.run import Run

Measures = Sequence[tuple[str, str]]
"""Fields of an attack, and what the page calls them."""

WORST, TENTH, AVERAGE = ("worst", "weakest class"), ("tenth", "weakest tenth of classes"), ("average", "average")
BALANCED = ("balanced", "mean over classes")
SPREAD: Measures = (("gap", "best minus weakest class"), ("deviation", "standard deviation over classes"))


def ends(runs: Sequence[Run], most: int = 2) -> list[Run]:
    """All runs, or of more than `most` the first and the last."""
    return list(runs) if len(runs) <= most else [runs[0], runs[-1]]


# --- attack by attack ------------------------------------------------------------------------------------------------


def attacks_section(runs: Sequence[Run], attacks: Sequence[str]) -> Section:
    """Weakest class and average, and how unequal the classes are: a row per attack, columns per run."""
    measures = [WORST, *known([TENTH], runs, attacks), AVERAGE, *([BALANCED] if _unequal(runs, attacks) else [])]
    level = f"{100 * runs[0].audit.level:g}{wording.NBSP}% intervals"
    tables = [_by_attack(runs, attacks, measures, "%", caption=f"Correct in percent, with {level}")]
    if spread := known(SPREAD, runs, attacks):
        caption = f"How unequal the classes are, in percentage points, with {level}"
        tables.append(_by_attack(runs, attacks, spread, "points", caption=caption))
    return Section(heading="Average and weakest class", tables=tables)


def _by_attack(runs: Sequence[Run], attacks: Sequence[str], measures: Measures, unit: str, *, caption: str) -> Table:
    columns = [(field, label, run) for field, label in measures for run in runs]
    head = [
        f"{run.name}: {label}, {unit}" if len(runs) > 1 else f"{capital(label)}, {unit}" for _, label, run in columns
    ]
    rows = [
        [text_cell(wording.attack_name(name)), *(measured(run, name, field) for field, _, run in columns)]
        for name in attacks
    ]
    return Table(caption=caption, head=["Attack", *head], rows=rows)


def known(measures: Measures, runs: Sequence[Run], attacks: Sequence[str]) -> list[tuple[str, str]]:
    """The measures that every run has; audits of earlier versions and of few classes lack some."""
    every = [run.audit.attacks[name] for run in runs for name in attacks]
    return [(field, label) for field, label in measures if all(getattr(found, field) is not None for found in every)]


def measured(run: Run, attack: str, field: str) -> Cell:
    """One measure of a run as a cell, with its interval and the classes that it speaks of."""
    found = run.audit.attacks[attack]
    cell = estimate_cell(getattr(found, field))
    if field == "worst":
        return replace(cell, note=f"“{short(found.worst_class)}”, {cell.note}")
    if field == "gap":
        return replace(cell, note=f"“{short(found.best_class)}” to “{short(found.worst_class)}”, {cell.note}")
    return cell


def capital(label: str) -> str:
    """A label at the beginning of a line."""
    return f"{label[0].upper()}{label[1:]}"


def _unequal(runs: Sequence[Run], attacks: Sequence[str]) -> bool:
    """Whether the mean over the classes is half a point or more from the average over the samples anywhere."""
    every = [run.audit.attacks[name] for run in runs for name in attacks]
    return any(abs(attack.average.value - attack.balanced.value) > 5e-3 for attack in every)


# --- examples --------------------------------------------------------------------------------------------------------


def examples_section(runs: Sequence[Run], chosen: str) -> Section | None:
    """A few adversarial images beside their originals, weakest class first."""
    groups = []
    for run in ends(runs):
        if run.examples is None:
            continue
        weakest = run.audit.attacks[chosen].worst_class
        found = pictures(run.examples, run.audit.classes, first=weakest, count=9 if len(runs) == 1 else 6)
        if found:
            groups.append((run.name if len(runs) > 1 else "", found))
    if not groups:
        return None
    reach = ": no pixel moves further than that" if runs[0].audit.norm.lower() == "linf" else ""
    text = [
        "The original, the adversarial image, and their difference, amplified; the class, and what the model took the "
        f"adversarial image for. {wording.threat(runs[0].audit)}{reach}."
    ]
    return Section(heading="What an attack looks like", text=text, pictures=groups)


# --- provenance ------------------------------------------------------------------------------------------------------


def coverage_section(level: float) -> Section:
    """What the intervals cover and what not."""
    return Section(heading="What the intervals cover, and what they do not", points=wording.coverage(level))


def made_section(runs: Sequence[Run], text: Sequence[str] = ()) -> Section:
    """Model, data, threat model, seed, engine and versions, once where all runs agree; the configurations folded."""
    told = [dict(run.audit.made_by) | {f"training.{key}": value for key, value in run.environment} for run in runs]
    rows = []
    for key in dict.fromkeys(key for settings in told for key in settings):
        values = [settings.get(key, "–") for settings in told]
        audited = key.replace("training.", "environment.")
        if audited != key and values == [settings.get(audited) for settings in told]:
            continue  # Training and audit ran alike; once is enough.
        agreed = len(set(values)) == 1
        cells = [Cell(text=values[0], numeric=False, columns=len(runs))] if agreed else [text_cell(v) for v in values]
        rows.append([text_cell(key.replace(".", " ").replace("_", " ")), *cells])
    head = ["Setting", *(run.name for run in runs)] if len(runs) > 1 else ["Setting", "Value"]
    table = Table(caption="Model, data, threat model and machine", head=head, rows=rows, sortable=False)
    files = [(f"Configuration of {run.name}", run.config) for run in runs if run.config is not None]
    return Section(heading="How this was made", text=text, tables=[table], files=files)
