"""Sections of every page: accuracy per attack, adversarial examples, intervals and settings.

The first run is `before`, the last one `after`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faal.report import wording
from faal.report.charts.images import pictures
from faal.report.charts.svg import short
from faal.report.elements import Cell, Section, Table, estimate_cell, text_cell
from faal.report.files.run import RunFiles

MAX_ROWS = 1000
"""The largest number of classes in a table: a page of many thousand rows is slow to open."""

Measures = Sequence[tuple[str, str]]
"""Fields of `AttackAccuracies`, and their labels on the page."""

WORST, TENTH, AVERAGE = ("worst", "worst class"), ("tenth", "worst tenth of classes"), ("average", "average")
BALANCED = ("balanced", "mean over classes")
DISPERSION: Measures = (("gap", "best minus worst class"), ("deviation", "standard deviation over classes"))


def first_and_last(runs: Sequence[RunFiles]) -> list[RunFiles]:
    """The first and the last run, or the only one."""
    return list(runs) if len(runs) <= 2 else [runs[0], runs[-1]]


def ends(values: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """The indices of the lowest and the highest values, in the order of the data; all if there are at most `most`.

    Args:
        values: (C,), nan for none: omitted if there are more than `most`.
        most: the number of indices, half of them at either end.
    """
    if len(values) <= most:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
    return np.sort(order if len(order) <= most else np.concatenate([order[: most // 2], order[-(most // 2) :]]))


def ends_note(shown: NDArray[np.intp], values: NDArray[np.float64], of: str = "classes") -> str:
    """The end of a caption about the classes (or groups) shown; empty if all are."""
    if len(shown) == len(values):
        return ""
    which = "those with images" if len(shown) == np.isfinite(values).sum() else "the lowest and the highest"
    return f" ({len(shown):,} of {len(values):,} {of}: {which})"


def bounded(table: Table, values: NDArray[np.float64], of: str = "classes") -> Table:
    """A table with a row per class (or group); of thousands only the lowest and highest `values` (C,), with a note in
    the caption."""
    shown = ends(values, MAX_ROWS)
    caption = f"{table.caption}{ends_note(shown, values, of)}"
    return replace(table, caption=caption, rows=[table.rows[i] for i in shown])


# --- accuracy per attack ---------------------------------------------------------------------------------------------


def attacks_section(runs: Sequence[RunFiles], attacks: Sequence[str]) -> Section:
    """Worst class, average and dispersion over the classes: a row per attack, columns per run."""
    measures = [
        WORST,
        *common_measures([TENTH], runs, attacks),
        AVERAGE,
        *([BALANCED] if _unequal(runs, attacks) else []),
    ]
    level = f"{100 * runs[0].audit.level:g}{wording.NBSP}% intervals"
    tables = [_by_attack(runs, attacks, measures, "%", caption=f"Accuracy in percent, with {level}")]
    if dispersion := common_measures(DISPERSION, runs, attacks):
        caption = f"Dispersion over the classes in percentage points, with {level}"
        tables.append(_by_attack(runs, attacks, dispersion, "points", caption=caption))
    return Section(heading="Average and worst class", tables=tables)


def _by_attack(
    runs: Sequence[RunFiles], attacks: Sequence[str], measures: Measures, unit: str, *, caption: str
) -> Table:
    columns = [(field, label, run) for field, label in measures for run in runs]
    head = [
        f"{run.name}: {label}, {unit}" if len(runs) > 1 else f"{wording.capital(label)}, {unit}"
        for _, label, run in columns
    ]
    rows = [
        [text_cell(wording.attack_name(name)), *(measure_cell(run, name, field) for field, _, run in columns)]
        for name in attacks
    ]
    return Table(caption=caption, head=["Attack", *head], rows=rows)


def common_measures(measures: Measures, runs: Sequence[RunFiles], attacks: Sequence[str]) -> list[tuple[str, str]]:
    """The measures that every run has; audits by earlier versions, and of few classes, lack some."""
    results = [run.audit.attacks[name] for run in runs for name in attacks]
    return [(field, label) for field, label in measures if all(getattr(found, field) is not None for found in results)]


def measure_cell(run: RunFiles, attack: str, field: str) -> Cell:
    """One measure of a run as a cell, with its interval and the names of its classes."""
    found = run.audit.attacks[attack]
    cell = estimate_cell(getattr(found, field))
    if field == "worst":
        return replace(cell, note=f"“{short(found.worst_class)}”, {cell.note}")
    if field == "gap":
        return replace(cell, note=f"“{short(found.best_class)}” to “{short(found.worst_class)}”, {cell.note}")
    return cell


def _unequal(runs: Sequence[RunFiles], attacks: Sequence[str]) -> bool:
    """Whether the mean over classes differs by half a point or more from the average over images for any run or
    attack."""
    results = [run.audit.attacks[name] for run in runs for name in attacks]
    return any(abs(attack.average.value - attack.balanced.value) > 5e-3 for attack in results)


# --- examples --------------------------------------------------------------------------------------------------------


def examples_section(runs: Sequence[RunFiles], chosen: str) -> Section | None:
    """Some adversarial examples with their originals, worst class first."""
    groups = []
    for run in first_and_last(runs):
        if run.examples is None:
            continue
        worst = run.audit.attacks[chosen].worst_class
        found = pictures(run.examples, run.audit.classes, first=worst, count=9 if len(runs) == 1 else 6)
        if found:
            groups.append((run.name if len(runs) > 1 else "", found))
    if not groups:
        return None
    bound = ": the largest change of any pixel" if runs[0].audit.norm.lower() == "linf" else ""
    text = [
        "The original image, the adversarial example, and their difference, amplified. Above them: the true class and "
        f"the class predicted for the adversarial example. {wording.threat(runs[0].audit)}{bound}."
    ]
    return Section(heading="Adversarial examples", text=text, pictures=groups)


# --- intervals and settings ------------------------------------------------------------------------------------------


def coverage_section(level: float) -> Section:
    """What the intervals cover, and what they do not."""
    return Section(heading="What the intervals cover, and what they do not", points=wording.coverage(level))


def settings_section(runs: Sequence[RunFiles], text: Sequence[str] = ()) -> Section:
    """Model, data, threat model, seed, engine and versions, in one column if all runs agree; configurations are
    collapsed."""
    settings = [dict(run.audit.settings) | {f"training.{key}": value for key, value in run.environment} for run in runs]
    rows = []
    for key in dict.fromkeys(key for run_settings in settings for key in run_settings):
        values = [run_settings.get(key, "–") for run_settings in settings]
        audited = key.replace("training.", "environment.")
        if audited != key and values == [run_settings.get(audited) for run_settings in settings]:
            continue  # Training and audit had the same environment.
        agreed = len(set(values)) == 1
        cells = [Cell(text=values[0], numeric=False, columns=len(runs))] if agreed else [text_cell(v) for v in values]
        rows.append([text_cell(key.replace(".", " ").replace("_", " ")), *cells])
    head = ["Setting", *(run.name for run in runs)] if len(runs) > 1 else ["Setting", "Value"]
    table = Table(caption="Model, data, threat model and environment", head=head, rows=rows, sortable=False)
    files = [(f"Configuration of {run.name}", run.config) for run in runs if run.config is not None]
    return Section(heading="Settings", text=text, tables=[table], files=files)
