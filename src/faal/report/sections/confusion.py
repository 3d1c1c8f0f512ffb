"""What is taken for what under attack: the first run's confusion matrix and the last one's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faal.report import wording
from faal.report.elements import Heat, HeatCell, Section, Table, count_cell, percent_cell, text_cell
from faal.report.files.run import Run
from faal.report.sections.common import ends

MOST_CLASSES = 20
"""Classes of a matrix; of more, the largest mistakes are listed, as many as this."""


def confusion_section(runs: Sequence[Run], attacks: Sequence[str], chosen: str) -> Section | None:
    """Matrices under the chosen attack, or under the strongest one whose confusion every run kept."""
    shown = ends(runs)
    order = [chosen, *(name for name in wording.STRENGTH if name in attacks), *reversed(attacks)]
    for name in order:
        matrices = [run.audit.attacks[name].confusion for run in shown]
        kept = [(run, matrix) for run, matrix in zip(shown, matrices, strict=True) if matrix is not None]
        if len(kept) == len(shown):
            break
    else:
        return None
    heading, under = "What is taken for what", wording.attack_name(name)
    if len(runs[0].audit.classes) > MOST_CLASSES:
        text = [f"{under}. The largest mistakes, in percent of the true class."]
        return Section(heading=heading, text=text, tables=[_mistakes(run, matrix) for run, matrix in kept])
    text = [f"{under}. A row is the true class, a column what the model took it for; in percent of the row."]
    return Section(heading=heading, text=text, heats=[_heat(run, matrix) for run, matrix in kept])


def _shares(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    totals = matrix.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    return shares


def _heat(run: Run, matrix: NDArray[np.float64]) -> Heat:
    shares = _shares(matrix)
    classes = run.audit.classes
    rows = [
        (name, [_cell(float(shares[i, j]), int(matrix[i, j]), right=i == j) for j in range(len(classes))])
        for i, name in enumerate(classes)
    ]
    return Heat(caption=run.name, classes=classes, rows=rows)


def _cell(share: float, count: int, *, right: bool) -> HeatCell:
    # Mistakes are many and small: their root keeps them visible. Text stays readable on the deepest tint.
    tint = 0.06 + 0.49 * share if right else 0.75 * share**0.5
    return HeatCell(text=f"{100 * share:.0f}" if count else "", tint=round(tint, 3), count=count, right=right)


def _mistakes(run: Run, matrix: NDArray[np.float64]) -> Table:
    shares = _shares(matrix)
    np.fill_diagonal(shares, 0)
    classes = run.audit.classes
    rows = []
    for place in np.argsort(-shares, axis=None, kind="stable")[:MOST_CLASSES]:
        true, taken = divmod(int(place), len(classes))
        names = [text_cell(classes[true]), text_cell(classes[taken])]
        rows.append([*names, percent_cell(float(shares[true, taken])), count_cell(int(matrix[true, taken]))])
    return Table(caption=run.name, head=["True class", "Taken for", "Share, %", "Images"], rows=rows)
