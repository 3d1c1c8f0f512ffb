"""The sections of a page of many runs: overview, accuracy per class, common and different settings."""

import math
import re
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from faal.report import wording
from faal.report.charts import panels
from faal.report.charts.scatter import frontier, on_frontier
from faal.report.elements import (
    Cell,
    Section,
    Table,
    count_cell,
    drawn,
    estimate_cell,
    percent_cell,
    text_cell,
)
from faal.report.files.run import RunFiles
from faal.report.sections.classes import MANY_CLASSES, WORST_SHOWN, panel_charts, profiles_charts
from faal.report.sections.common import AVERAGE, DISPERSION, TENTH, WORST, bounded, common_measures, measure_cell

MAX_COLUMNS = 12
"""The largest number of classes in a table with a column for each; of more only the worst, to fit a printed page."""

DIGEST = re.compile(r"[0-9a-f]{40,}")


# --- overview --------------------------------------------------------------------------------------------------------


def overview_section(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str) -> Section:
    """The chart of average against worst class, and a table with a row per run."""
    under = [run.audit.attacks[chosen] for run in runs]
    points = np.array([(attack.average.value, attack.worst.value) for attack in under])
    best = wording.listing([run.name for run, on in zip(runs, on_frontier(points), strict=True) if on])
    chart = drawn(
        "Filled marks: models on the Pareto front (dashed line); no other model is as good in both average and worst "
        "class and better in one. Numbers refer to the table.",
        lambda width: frontier([run.name for run in runs], points, width=width),
        name="frontier",
        title=f"Average against worst class, one mark per model, {wording.attack_name(chosen)}",
        description=f"On the Pareto front: {best}. The table has the numbers.",
    )
    level = f"{100 * runs[0].audit.level:g}{wording.NBSP}% intervals"
    tenth, dispersion = (common_measures(fields, runs, [chosen]) for fields in ([TENTH], DISPERSION))
    measures = [(chosen, *labelled) for labelled in (WORST, *tenth, AVERAGE, *dispersion)]
    if "clean" in attacks and chosen != "clean":
        measures += [("clean", "worst", "worst class without attack"), ("clean", "average", "average without attack")]
    table = _table(
        runs,
        measures,
        caption=f"{wording.attack_name(chosen)}: accuracy in percent, differences in points, with {level}",
    )
    others = [name for name in reversed(attacks) if name not in (chosen, "clean")]
    collapsed = [
        _table(
            runs,
            [(name, *WORST), (name, *AVERAGE)],
            caption=f"{wording.attack_name(name)}: accuracy in percent, with {level}",
        )
        for name in others
    ]
    return Section(heading="Overview of the models", charts=[chart], tables=[table], collapsed=collapsed)


def _table(runs: Sequence[RunFiles], measures: Sequence[tuple[str, str, str]], *, caption: str) -> Table:
    """A row per run and a column per (attack, field, label)."""
    head = ["Model", "No.", *(wording.capital(label) for _, _, label in measures)]
    rows = [
        [*_heads(runs, i), *(measure_cell(run, attack, field) for attack, field, _ in measures)]
        for i, run in enumerate(runs)
    ]
    return Table(caption=caption, head=head, rows=rows)


def _heads(runs: Sequence[RunFiles], position: int) -> list[Cell]:
    return [text_cell(runs[position].name), count_cell(position + 1)]


# --- accuracy per class ----------------------------------------------------------------------------------------------


def panels_section(runs: Sequence[RunFiles], chosen: str) -> Section:
    """A panel per run, and the tables of the classes."""
    classes = runs[0].audit.classes
    values = np.array([[c.accuracy.value for c in run.audit.attacks[chosen].classes] for run in runs])
    order = np.argsort(_over_runs(values, "mean"), kind="stable")
    if len(classes) > MANY_CLASSES:
        charts = profiles_charts(runs, chosen)
    else:
        highest = max(c.accuracy.high for run in runs for c in run.audit.attacks[chosen].classes if c.n)
        draw = partial(
            panels.class_panels, [classes[i] for i in order], end=min(1.0, math.ceil(10 * highest + 0.4) / 10)
        )
        charts = panel_charts(
            runs,
            chosen,
            order,
            draw,
            caption=f"{wording.attack_name(chosen)}, the classes in the same order for all models, the worst on "
            "average first. In colour: the model's worst class. Lines: intervals. Dashed line: the model's average.",
            title=f"Accuracy per class, a panel per model, {wording.attack_name(chosen)}",
        )
    shown = order if len(order) <= MAX_COLUMNS else order[:WORST_SHOWN]
    selection = "" if len(shown) == len(order) else f" of the {len(shown)} classes that are worst on average"
    rows = [
        [*_heads(runs, i), *(estimate_cell(run.audit.attacks[chosen].classes[c].accuracy) for c in shown)]
        for i, run in enumerate(runs)
    ]
    table = Table(
        caption=f"Accuracy per class{selection}, in percent, with intervals",
        head=["Model", "No.", *(classes[c] for c in shown)],
        rows=rows,
    )
    return Section(
        heading="Accuracy per class", charts=charts, tables=[table], collapsed=[_per_class(runs, chosen, values)]
    )


def _per_class(runs: Sequence[RunFiles], chosen: str, values: NDArray[np.float64]) -> Table:
    """A row per class: its mean over the runs, and the runs with its lowest and highest accuracy."""
    least, mean, most = (_over_runs(values, statistic) for statistic in ("min", "mean", "max"))
    rows = []
    for c, name in enumerate(runs[0].audit.classes):
        ends = [
            Cell(
                text=wording.percent(value), note=runs[int(np.nanargmax(values[:, c] == value))].name, sort=float(value)
            )
            if np.isfinite(value)
            else percent_cell(float("nan"))
            for value in (least[c], most[c])
        ]
        images = runs[0].audit.attacks[chosen].classes[c].n
        rows.append([text_cell(name), count_cell(images), ends[0], percent_cell(float(mean[c])), ends[1]])
    head = ["Class", "Images", "Lowest, %", "Mean over the models, %", "Highest, %"]
    return bounded(Table(caption=f"Every class over the {len(runs)} models", head=head, rows=rows), mean)


def _over_runs(values: NDArray[np.float64], statistic: str) -> NDArray[np.float64]:
    """Mean, min or max of (R, C) over the runs; nan where a class has no images."""
    empty = np.isnan(values).all(axis=0)
    found: NDArray[np.float64] = getattr(np, f"nan{statistic}")(np.where(empty, 0.0, values), axis=0)
    return np.where(empty, np.nan, found)


# --- settings --------------------------------------------------------------------------------------------------------


def settings_section(runs: Sequence[RunFiles]) -> Section:
    """The common settings of all runs, and, collapsed, the different ones, a row per run."""
    settings = [dict(run.audit.settings) for run in runs]
    keys = list(dict.fromkeys(key for run_settings in settings for key in run_settings))
    equal = [key for key in keys if len({run_settings.get(key) for run_settings in settings}) == 1]
    different = [key for key in keys if key not in equal]
    shared = Table(
        caption="Common settings of all models",
        head=["Setting", "Value"],
        rows=[[text_cell(_label(key)), text_cell(settings[0][key])] for key in equal],
        sortable=False,
    )
    differing = Table(
        caption="Settings that differ",
        head=["Model", "No.", *map(_label, different)],
        rows=[
            [*_heads(runs, i), *(text_cell(_brief(run_settings.get(key, "–"))) for key in different)]
            for i, run_settings in enumerate(settings)
        ],
    )
    text = ["A report of a single model has its adversarial examples, confusion matrix, training and configuration."]
    return Section(heading="Settings", text=text, tables=[shared], collapsed=[differing] if different else [])


def _label(key: str) -> str:
    return key.replace(".", " ").replace("_", " ")


def _brief(text: str) -> str:
    """A text; a digest is truncated."""
    return f"{text[:12]}…" if DIGEST.fullmatch(text) else text
