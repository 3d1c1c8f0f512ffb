"""The plain parts of the page: attack by attack, examples, provenance. The first run is `before`, the last `after`."""

from collections.abc import Sequence
from dataclasses import replace

from faal.report import words
from faal.report.figures import short
from faal.report.pictures import pictures
from faal.report.run import Run
from faal.report.tables import Cell, Section, Table, estimate_cell, text_cell

MEASURES = (("worst", "weakest class"), ("average", "average"))
BALANCED = ("balanced", "mean over classes")

MOST_MODELS = 3
"""Models drawn beside each other; of more, the first and the last are, and the table has a row for each."""


def ends(runs: Sequence[Run], most: int = 2) -> list[Run]:
    """All runs, or of more than `most` the first and the last."""
    return list(runs) if len(runs) <= most else [runs[0], runs[-1]]


# --- attack by attack ------------------------------------------------------------------------------------------------


def attacks_section(runs: Sequence[Run], attacks: Sequence[str]) -> Section:
    """Average and weakest class: a row per attack, or, with many runs, a row per run."""
    if len(runs) <= MOST_MODELS:
        measures = [*MEASURES, *([BALANCED] if _unequal(runs, attacks) else [])]
        columns = [(field, label, run) for field, label in measures for run in runs]
        head = ["Attack", *(_headed(run.name if len(runs) > 1 else "", label) for _, label, run in columns)]
        rows = [
            [text_cell(words.attack_name(name)), *(_measured(run, name, field) for field, _, run in columns)]
            for name in attacks
        ]
    else:
        pairs = [(name, field, label) for name in reversed(attacks) for field, label in MEASURES]
        head = ["Model", *(_headed(words.attack_name(name), label) for name, _, label in pairs)]
        rows = [[text_cell(run.name), *(_measured(run, name, field) for name, field, _ in pairs)] for run in runs]
    caption = f"Correct in percent, with {100 * runs[0].audit.level:g}{words.NBSP}% intervals"
    return Section(heading="Average and weakest class", tables=[Table(caption=caption, head=head, rows=rows)])


def _headed(of: str, label: str) -> str:
    return f"{of}: {label}, %" if of else f"{label[0].upper()}{label[1:]}, %"


def _unequal(runs: Sequence[Run], attacks: Sequence[str]) -> bool:
    """Whether the mean over the classes is half a point or more from the average over the samples anywhere."""
    every = [run.audit.attacks[name] for run in runs for name in attacks]
    return any(abs(attack.average.value - attack.balanced.value) > 5e-3 for attack in every)


def _measured(run: Run, attack: str, field: str) -> Cell:
    found = run.audit.attacks[attack]
    cell = estimate_cell(getattr(found, field))
    return replace(cell, note=f"“{short(found.worst_class)}”, {cell.note}") if field == "worst" else cell


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
        f"adversarial image for. {words.threat(runs[0].audit)}{reach}."
    ]
    return Section(heading="What an attack looks like", text=text, pictures=groups)


# --- provenance ------------------------------------------------------------------------------------------------------


def coverage_section(level: float) -> Section:
    """What the intervals cover and what not."""
    return Section(heading="What the intervals cover, and what they do not", points=words.coverage(level))


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
