"""Confusion matrices under attack, of the first run and of the last one."""

from collections.abc import Sequence

import numpy as np

from faal.confusion import Confusion
from faal.report import wording
from faal.report.elements import Heat, HeatCell, Section, Table, count_cell, percent_cell, text_cell
from faal.report.files.run import RunFiles
from faal.report.sections.common import first_and_last

MAX_CLASSES = 20
"""The largest number of classes of a printed matrix; for more classes, the same number of largest confusions is
listed."""


def confusion_section(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str) -> Section | None:
    """Matrices under the chosen attack, or under the strongest one with a confusion matrix in every run."""
    shown = first_and_last(runs)
    order = [chosen, *(name for name in wording.STRENGTH if name in attacks), *reversed(attacks)]
    for name in order:
        matrices = [run.audit.attacks[name].confusion for run in shown]
        found = [(run, matrix) for run, matrix in zip(shown, matrices, strict=True) if matrix is not None]
        if len(found) == len(shown):
            break
    else:
        return None
    under = wording.attack_name(name)
    if len(runs[0].audit.classes) > MAX_CLASSES:
        text = [f"{under}. The largest confusions, in percent of the true class."]
        return Section(heading="Largest confusions", text=text, tables=[_largest(run, matrix) for run, matrix in found])
    text = [f"{under}. A row is the true class, a column the predicted class; in percent of the row."]
    return Section(heading="Confusion matrix", text=text, heats=[_heat(run, matrix) for run, matrix in found])


def _heat(run: RunFiles, confusion: Confusion) -> Heat:
    counts, classes = np.array(confusion), run.audit.classes
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        (name, [_cell(float(shares[i, j]), int(counts[i, j]), right=i == j) for j in range(len(classes))])
        for i, name in enumerate(classes)
    ]
    return Heat(caption=run.name, classes=classes, rows=rows)


def _cell(share: float, count: int, *, right: bool) -> HeatCell:
    # Most confusions are small: the square root keeps them visible. Text remains readable on the darkest tint.
    tint = 0.06 + 0.49 * share if right else 0.75 * share**0.5
    return HeatCell(text=f"{100 * share:.0f}" if count else "", tint=round(tint, 3), count=count, right=right)


def _largest(run: RunFiles, confusion: Confusion) -> Table:
    classes, found = run.audit.classes, confusion.counts.tocoo()
    shares = found.data / np.maximum(found.sum(axis=1), 1)[found.row]
    wrong = np.flatnonzero((found.row != found.col) & (found.data > 0))
    rows = []
    for i in wrong[np.lexsort((found.col[wrong], found.row[wrong], -shares[wrong]))][:MAX_CLASSES]:
        names = [text_cell(classes[found.row[i]]), text_cell(classes[found.col[i]])]
        rows.append([*names, percent_cell(float(shares[i])), count_cell(int(found.data[i]))])
    return Table(caption=run.name, head=["True class", "Predicted class", "Share, %", "Images"], rows=rows)
