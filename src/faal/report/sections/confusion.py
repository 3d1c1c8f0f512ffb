"""Confusion matrices under attack, of the first run and of the last one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faal.report import wording
from faal.report.elements import Heat, HeatCell, Section, Table, count_cell, percent_cell, text_cell
from faal.report.files.run import RunFiles
from faal.report.sections.common import first_and_last

MOST_CLASSES = 20
"""The largest number of classes of a printed matrix; of more classes, so many largest confusions are listed."""


def confusion_section(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str) -> Section | None:
    """Matrices under the chosen attack, or under the strongest one whose confusion matrix every run has."""
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
    if len(runs[0].audit.classes) > MOST_CLASSES:
        text = [f"{under}. The largest confusions, in percent of the true class."]
        return Section(heading="Largest confusions", text=text, tables=[_largest(run, matrix) for run, matrix in found])
    text = [f"{under}. A row is the true class, a column the predicted class; in percent of the row."]
    return Section(heading="Confusion matrix", text=text, heats=[_heat(run, matrix) for run, matrix in found])


def _shares(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    totals = matrix.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    return shares


def _heat(run: RunFiles, matrix: NDArray[np.float64]) -> Heat:
    shares = _shares(matrix)
    classes = run.audit.classes
    rows = [
        (name, [_cell(float(shares[i, j]), int(matrix[i, j]), right=i == j) for j in range(len(classes))])
        for i, name in enumerate(classes)
    ]
    return Heat(caption=run.name, classes=classes, rows=rows)


def _cell(share: float, count: int, *, right: bool) -> HeatCell:
    # Most confusions are small: the square root keeps them visible. Text remains readable on the darkest tint.
    tint = 0.06 + 0.49 * share if right else 0.75 * share**0.5
    return HeatCell(text=f"{100 * share:.0f}" if count else "", tint=round(tint, 3), count=count, right=right)


def _largest(run: RunFiles, matrix: NDArray[np.float64]) -> Table:
    shares = _shares(matrix)
    np.fill_diagonal(shares, 0)
    classes = run.audit.classes
    rows = []
    for place in np.argsort(-shares, axis=None, kind="stable")[:MOST_CLASSES]:
        true, predicted = divmod(int(place), len(classes))
        names = [text_cell(classes[true]), text_cell(classes[predicted])]
        rows.append([*names, percent_cell(float(shares[true, predicted])), count_cell(int(matrix[true, predicted]))])
    return Table(caption=run.name, head=["True class", "Predicted class", "Share, %", "Images"], rows=rows)
