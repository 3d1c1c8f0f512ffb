"""Class by class: the bars, and the tables that say the same in figures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faal.report import figures, words
from faal.report.run import Attack, Run
from faal.report.sections import MOST_MODELS, ends
from faal.report.tables import Section, Table, count_cell, drawn, estimate_cell, points_cell, text_cell

MOST_BARS = 24
"""Classes in a chart; the table beneath has all."""

Turned = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Images per class (C,) that fell before and stand after, and those that stood before and fall after."""


def classes_section(runs: Sequence[Run], attacks: Sequence[str], chosen: str) -> Section:
    """Bars and table under the chosen attack; the other attacks' tables folded."""
    shown = ends(runs, MOST_MODELS)
    order = _weakest_first(shown, chosen)
    count = len(runs[0].audit.classes)
    with_clean = chosen != "clean" and "clean" in attacks and len(shown) <= 2
    names = [runs[0].audit.classes[i] for i in order]
    bars = [_bars(run, chosen, order, with_clean=with_clean) for run in shown]

    caption = f"{words.attack_name(chosen)}, weakest class first. Whiskers: the interval. Dashed: the average."
    caption += " Upright stroke: the class without attack." if with_clean else ""
    caption += (
        f" These are the {len(order)} weakest of {count} classes; the table has all." if len(order) < count else ""
    )
    caption += " The first and the last model." if len(shown) < len(runs) else ""
    chart = drawn(
        caption,
        lambda width: figures.class_bars(names, bars, width=width),
        name="classes",
        title=f"Accuracy per class, {words.attack_name(chosen)}",
        description=" ".join(f"{run.name}: {words.headline(run.audit.attacks[chosen])}" for run in shown),
    )
    if len(runs) == 1:
        return Section(heading="Class by class", charts=[chart], tables=[_attacks_per_class(runs[0], attacks)])

    turned = _turned(runs, chosen)
    text = [] if turned is None else [_turned_sentence(runs, turned)]
    table = _runs_per_class(runs, chosen, turned, caption="The same in figures: correct per class, with intervals")
    others = [name for name in reversed(attacks) if name != chosen]
    folded = [_runs_per_class(runs, n, _turned(runs, n), caption=f"{words.attack_name(n)}, per class") for n in others]
    return Section(heading="Class by class", text=text, charts=[chart], tables=[table], folded=folded)


def _weakest_first(runs: Sequence[Run], attack: str) -> NDArray[np.intp]:
    """The classes to draw: those that are weakest in any run, ordered by the first one; classes without images last."""
    values = np.array([[c.accuracy.value for c in run.audit.attacks[attack].classes] for run in runs])
    values = np.nan_to_num(values, nan=2.0)
    weakest = np.argsort(values.min(axis=0), kind="stable")[:MOST_BARS]
    return weakest[np.argsort(values[0, weakest], kind="stable")]


def _bars(run: Run, chosen: str, order: NDArray[np.intp], *, with_clean: bool) -> figures.Bars:
    def column(attack: Attack, field: str) -> NDArray[np.float64]:
        return np.array([getattr(attack.classes[i].accuracy, field) for i in order], dtype=np.float64)

    attack = run.audit.attacks[chosen]
    return figures.Bars(
        name=run.name,
        value=column(attack, "value"),
        low=column(attack, "low"),
        high=column(attack, "high"),
        average=attack.average.value,
        clean=column(run.audit.attacks["clean"], "value") if with_clean else None,
    )


def _attacks_per_class(run: Run, attacks: Sequence[str]) -> Table:
    head = ["Class", "Images", *(f"{words.attack_name(name)}, %" for name in attacks)]
    rows = []
    for i, name in enumerate(run.audit.classes):
        under = [run.audit.attacks[attack].classes[i] for attack in attacks]
        rows.append([text_cell(name), count_cell(under[0].n), *(estimate_cell(c.accuracy) for c in under)])
    return Table(caption="The same in figures: correct per class and attack, with intervals", head=head, rows=rows)


def _runs_per_class(runs: Sequence[Run], attack: str, turned: Turned | None, *, caption: str) -> Table:
    change = "Change, points" if len(runs) == 2 else f"{runs[0].name} to {runs[-1].name}, points"
    head = ["Class", "Images", *(f"{run.name}, %" for run in runs), change]
    head += ["Images won", "Images lost"] if turned is not None else []
    rows = []
    for i, name in enumerate(runs[0].audit.classes):
        under = [run.audit.attacks[attack].classes[i] for run in runs]
        row = [text_cell(name), count_cell(under[0].n), *(estimate_cell(c.accuracy) for c in under)]
        row.append(points_cell(under[-1].accuracy.value - under[0].accuracy.value))
        rows.append(row + [count_cell(int(counts[i])) for counts in turned or ()])
    return Table(caption=caption, head=head, rows=rows)


def _turned(runs: Sequence[Run], attack: str) -> Turned | None:
    """From the first run to the last; None where the two did not see the same images under the attack."""
    before, after = runs[0].verdicts, runs[-1].verdicts
    if before is None or after is None or attack not in before.correct or attack not in after.correct:
        return None
    if not (np.array_equal(before.index, after.index) and np.array_equal(before.label, after.label)):
        return None
    old, new = before.correct[attack], after.correct[attack]
    count = len(runs[0].audit.classes)
    won, lost = before.label[~old & new], before.label[old & ~new]
    return np.bincount(won, minlength=count), np.bincount(lost, minlength=count)


def _turned_sentence(runs: Sequence[Run], turned: Turned) -> str:
    won, lost = (int(counts.sum()) for counts in turned)
    return words.turned_sentence(runs[0].name, runs[-1].name, won, lost, runs[0].audit.n)
