"""The parts of a page of many runs: all at a glance, class by class, and in what they were made alike and otherwise."""

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
from faal.report.files.run import Run
from faal.report.sections.classes import MANY, WEAKEST, panel_charts, profiles_charts
from faal.report.sections.common import AVERAGE, SPREAD, TENTH, WORST, capital, known, measured

MOST_COLUMNS = 12
"""Classes in a table that has a column for each; of more it has the weakest, so that the page still prints."""

DIGEST = re.compile(r"[0-9a-f]{40,}")


# --- at a glance -----------------------------------------------------------------------------------------------------


def glance_section(runs: Sequence[Run], attacks: Sequence[str], chosen: str) -> Section:
    """Average against weakest class, and a row of figures per run."""
    under = [run.audit.attacks[chosen] for run in runs]
    points = np.array([(attack.average.value, attack.worst.value) for attack in under])
    best = wording.listing([run.name for run, on in zip(runs, on_frontier(points), strict=True) if on])
    chart = drawn(
        "Up is fairer, to the right is stronger on average. No model lies beyond the dashed line; those on it are "
        "filled. Numbers are those of the table.",
        lambda width: frontier([run.name for run in runs], points, width=width),
        name="frontier",
        title=f"Average against weakest class, one mark per model, {wording.attack_name(chosen)}",
        description=f"No other model is as good in both as {best}. The table has the figures.",
    )
    level = f"{100 * runs[0].audit.level:g}{wording.NBSP}% intervals"
    measures = [(chosen, *m) for m in (WORST, *known([TENTH], runs, [chosen]), AVERAGE, *known(SPREAD, runs, [chosen]))]
    if "clean" in attacks and chosen != "clean":
        measures += [("clean", "worst", "weakest class without attack"), ("clean", "average", "average without attack")]
    table = _table(
        runs,
        measures,
        caption=f"{wording.attack_name(chosen)}: correct in percent, differences in points, with {level}",
    )
    others = [name for name in reversed(attacks) if name not in (chosen, "clean")]
    folded = [
        _table(
            runs,
            [(name, *WORST), (name, *AVERAGE)],
            caption=f"{wording.attack_name(name)}: correct in percent, with {level}",
        )
        for name in others
    ]
    return Section(heading="The models at a glance", charts=[chart], tables=[table], folded=folded)


def _table(runs: Sequence[Run], measures: Sequence[tuple[str, str, str]], *, caption: str) -> Table:
    """A row per run and a column per (attack, field, label)."""
    head = ["Model", "No.", *(capital(label) for _, _, label in measures)]
    rows = [
        [*_heads(runs, i), *(measured(run, attack, field) for attack, field, _ in measures)]
        for i, run in enumerate(runs)
    ]
    return Table(caption=caption, head=head, rows=rows)


def _heads(runs: Sequence[Run], position: int) -> list[Cell]:
    return [text_cell(runs[position].name), count_cell(position + 1)]


# --- class by class --------------------------------------------------------------------------------------------------


def panels_section(runs: Sequence[Run], chosen: str) -> Section:
    """A small panel per run, and the classes in figures."""
    classes = runs[0].audit.classes
    values = np.array([[c.accuracy.value for c in run.audit.attacks[chosen].classes] for run in runs])
    order = np.argsort(_over_runs(values, "mean"), kind="stable")
    if len(classes) > MANY:
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
            caption=f"{wording.attack_name(chosen)}, the classes in one order, the weakest on average first. In colour: "
            "the model's own weakest class. Lines: the intervals. Dashed: the model's average.",
            title=f"Accuracy per class, a panel per model, {wording.attack_name(chosen)}",
        )
    shown = order if len(order) <= MOST_COLUMNS else order[:WEAKEST]
    some = "" if len(shown) == len(order) else f" of the {len(shown)} classes that are weakest on average"
    rows = [
        [*_heads(runs, i), *(estimate_cell(run.audit.attacks[chosen].classes[c].accuracy) for c in shown)]
        for i, run in enumerate(runs)
    ]
    table = Table(
        caption=f"The same in figures{some}: correct in percent, with intervals",
        head=["Model", "No.", *(classes[c] for c in shown)],
        rows=rows,
    )
    return Section(heading="Class by class", charts=charts, tables=[table], folded=[_per_class(runs, chosen, values)])


def _per_class(runs: Sequence[Run], chosen: str, values: NDArray[np.float64]) -> Table:
    """A row per class: the mean over the runs, and the runs in which it is weakest and strongest."""
    least, mean, most = (_over_runs(values, how) for how in ("min", "mean", "max"))
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
    return Table(caption=f"Every class over the {len(runs)} models", head=head, rows=rows)


def _over_runs(values: NDArray[np.float64], how: str) -> NDArray[np.float64]:
    """Mean, min or max of (R, C) over the runs; nan where a class has no images."""
    empty = np.isnan(values).all(axis=0)
    found: NDArray[np.float64] = getattr(np, f"nan{how}")(np.where(empty, 0.0, values), axis=0)
    return np.where(empty, np.nan, found)


# --- provenance ------------------------------------------------------------------------------------------------------


def made_section(runs: Sequence[Run]) -> Section:
    """The settings that all runs share, and folded, a row per run, those in which they differ."""
    told = [dict(run.audit.made_by) for run in runs]
    keys = list(dict.fromkeys(key for settings in told for key in settings))
    alike = [key for key in keys if len({settings.get(key) for settings in told}) == 1]
    apart = [key for key in keys if key not in alike]
    shared = Table(
        caption="What all models have in common",
        head=["Setting", "Value"],
        rows=[[text_cell(_called(key)), text_cell(told[0][key])] for key in alike],
        sortable=False,
    )
    differing = Table(
        caption="In what they differ",
        head=["Model", "No.", *map(_called, apart)],
        rows=[
            [*_heads(runs, i), *(text_cell(_brief(settings.get(key, "–"))) for key in apart)]
            for i, settings in enumerate(told)
        ],
    )
    text = ["A model's own page has its examples, its confusions, its training and its configuration."]
    return Section(heading="How this was made", text=text, tables=[shared], folded=[differing] if apart else [])


def _called(key: str) -> str:
    return key.replace(".", " ").replace("_", " ")


def _brief(text: str) -> str:
    """Of a digest its beginning, enough to see that it differs."""
    return f"{text[:12]}…" if DIGEST.fullmatch(text) else text
