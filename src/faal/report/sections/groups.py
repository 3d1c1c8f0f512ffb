"""Accuracy per group, for audits with groups other than the classes: cameras, sites, skin tones."""

from collections.abc import Sequence

import numpy as np

from faal.report import wording
from faal.report.charts import svg
from faal.report.elements import Section, Table, count_cell, drawn, estimate_cell, text_cell
from faal.report.files.run import AttackAccuracies, RunFiles
from faal.report.sections.common import bounded

MAX_GROUPS = 24
"""The largest number of groups in a chart; the table has all, or of thousands the lowest and highest."""


def group_sections(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str) -> list[Section]:
    """A section per grouping that all runs have: bars under the chosen attack, and the table."""
    shared = [
        name
        for name, found in runs[0].audit.groups.items()
        if all(_names(run.audit.groups.get(name, {}), attacks) == _names(found, attacks) for run in runs)
    ]
    return [_section(runs, attacks, chosen, name, i) for i, name in enumerate(shared)]


def _names(found: dict[str, AttackAccuracies], attacks: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(c.name for c in found[attack].classes) if attack in found else () for attack in attacks]


def _section(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str, name: str, index: int) -> Section:
    accuracies = [run.audit.groups[name][chosen] for run in runs]
    groups = accuracies[0].classes
    values = np.array([c.accuracy.value for c in groups])
    order = np.argsort(values, kind="stable")[:MAX_GROUPS]
    bars = [
        svg.Bars(
            name=run.name,
            value=np.array([attack.classes[i].accuracy.value for i in order]),
            low=np.array([attack.classes[i].accuracy.low for i in order]),
            high=np.array([attack.classes[i].accuracy.high for i in order]),
            average=attack.average.value,
        )
        for run, attack in zip(runs, accuracies, strict=True)
    ]
    sentences = [
        wording.group_sentence(attack, run.name if len(runs) > 1 else "")
        for run, attack in zip(runs, accuracies, strict=True)
    ]
    chart = drawn(
        f"{wording.attack_name(chosen)}, worst group first. Whiskers: intervals. Dashed line: the average.",
        lambda width: svg.class_bars([groups[i].name for i in order], bars, width=width),
        name=f"groups-{index}",
        title=f"Accuracy by {name}, {wording.attack_name(chosen)}",
        description=" ".join(sentences),
    )
    if len(runs) == 1:
        columns = [(wording.attack_name(attack), runs[0].audit.groups[name][attack]) for attack in attacks]
    else:
        columns = [(run.name, attack) for run, attack in zip(runs, accuracies, strict=True)]
    rows = [
        [text_cell(group.name), count_cell(group.n), *(estimate_cell(a.classes[i].accuracy) for _, a in columns)]
        for i, group in enumerate(groups)
    ]
    head = ["Group", "Images", *(f"{label}, %" for label, _ in columns)]
    table = Table(caption=f"Accuracy by {name}, with intervals", head=head, rows=rows)
    return Section(
        heading=f"Accuracy by {name}", text=sentences, charts=[chart], tables=[bounded(table, values, "groups")]
    )
