"""The sections of the demo's page: tiles, and the table and the chart of all seeds."""

import math

import numpy as np

from faal.report import wording
from faal.report.charts import svg
from faal.report.elements import (
    Cell,
    Section,
    Table,
    Tile,
    drawn,
    estimate_cell,
    measure,
    percent_cell,
    points_cell,
    text_cell,
)
from faal.report.files.demo import ROLES, Demo, t_interval
from faal.report.files.run import IntervalEstimate

FIELDS = (("worst", "worst class"), ("average", "average"))


def means(demo: Demo, level: float) -> dict[str, dict[str, IntervalEstimate]]:
    """Means over seeds with t intervals, by role and by `worst` or `average`."""
    return {
        role: {field: t_interval([getattr(point, field) for point in demo.points[role]], level) for field, _ in FIELDS}
        for role in ROLES
    }


def difference(demo: Demo, role: str, other: str, field: str, level: float) -> IntervalEstimate:
    """The mean over seeds of one role minus another, paired by seed, with its t interval."""
    pairs = zip(demo.points[role], demo.points[other], strict=True)
    return t_interval([getattr(a, field) - getattr(b, field) for a, b in pairs], level)


def tiles(demo: Demo, level: float) -> list[Tile]:
    """One tile per role."""
    found = means(demo, level)
    return [
        Tile(
            name=demo.first[role].name,
            colour=svg.SERIES.index(svg.series_colour(i, len(ROLES))),
            measures=[measure("Worst class", found[role]["worst"]), measure("Average", found[role]["average"])],
        )
        for i, role in enumerate(ROLES)
    ]


def paired(demo: Demo, level: float) -> list[str]:
    """Sentences that compare the repaired model with the base and with the control."""
    others = (("base", "the base"), ("control", "the control, a plain fine-tune of the same length"))
    return [
        wording.paired_sentence(
            text,
            difference(demo, "repaired", other, "worst", level),
            difference(demo, "repaired", other, "average", level),
            level,
        )
        for other, text in others
    ]


def duration(demo: Demo) -> list[str]:
    """A sentence on the duration of the demo, if it is known."""
    return [] if math.isnan(demo.seconds) else [f"All seeds together took {demo.seconds:,.0f}{wording.NBSP}s."]


def seeds_section(demo: Demo, level: float) -> Section:
    """Every seed's accuracies, their means, AutoAttack on the first seed, and the chart of all seeds."""
    names = {role: demo.first[role].name for role in ROLES}
    columns = [(field, role) for field, _ in FIELDS for role in ROLES]
    head = ["Seed", *(f"{names[role]}: {label}, %" for field, label in FIELDS for role in ROLES)]
    rows = [
        [
            Cell(text=str(seed), sort=seed),
            *(percent_cell(getattr(demo.points[role][i], field)) for field, role in columns),
        ]
        for i, seed in enumerate(demo.seeds)
    ]
    found = means(demo, level)
    foot: list[list[Cell]] = []
    caption = "Robust accuracy under PGD-20 and CW-20 with five random starts each, per training seed"
    if len(demo.seeds) > 1:
        caption += f"; means with {100 * level:g}{wording.NBSP}% t intervals"
        foot.append([text_cell("Mean"), *(estimate_cell(found[role][field]) for field, role in columns)])
        foot.append([text_cell("Change from base"), *_changes(demo, columns, level)])
    if demo.autoattack:
        foot.append(
            [
                text_cell(f"AutoAttack, seed {demo.seeds[0]}"),
                *(percent_cell(getattr(demo.autoattack.get(role), field, math.nan)) for field, role in columns),
            ]
        )
    table = Table(caption=caption, head=head, rows=rows, foot=foot)
    panels = [
        (label, np.array([[getattr(demo.points[r][i], field) for r in ROLES] for i in range(len(demo.seeds))]))
        for field, label in FIELDS
    ]
    chart = drawn(
        "A dot is a model; a line connects the three models of one seed; a bar marks the mean.",
        lambda width: svg.slopes([names[role] for role in ROLES], panels, width=width),
        name="seeds",
        title="Worst class and average of every seed's three models",
        description=" ".join(paired(demo, level)),
    )
    return Section(heading="Results per seed", charts=[chart], tables=[table])


def _changes(demo: Demo, columns: list[tuple[str, str]], level: float) -> list[Cell]:
    cells = []
    for field, role in columns:
        if role == "base":
            cells.append(text_cell(""))
            continue
        change = difference(demo, role, "base", field, level)
        cells.append(
            Cell(
                text=wording.points(change.value),
                note=wording.points_interval(change),
                sort=points_cell(change.value).sort,
            )
        )
    return cells
