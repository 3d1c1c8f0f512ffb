"""Class by class: the bars, and the tables that say the same in figures."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faal.report import wording
from faal.report.charts import panels, svg
from faal.report.elements import Chart, Section, Table, count_cell, drawn, estimate_cell, points_cell, text_cell
from faal.report.files.run import Attack, Run

MANY, WEAKEST = 24, 10
"""Of more classes than `MANY` the page shows the weakest, and how all are distributed; a folded table has all."""

Turned = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Images per class (C,) that fell before and stand after, and those that stood before and fall after."""


def classes_section(runs: Sequence[Run], attacks: Sequence[str], chosen: str) -> Section:
    """Bars and table of few runs under the chosen attack; the other attacks' tables folded."""
    order, count = _weakest_first(runs, chosen), len(runs[0].audit.classes)
    charts = [_bars_chart(runs, attacks, chosen, order)]
    turned = _turned(runs, chosen)
    text = [] if turned is None else [_turned_sentence(runs, turned)]
    if len(runs) == 1:
        table, folded = _attacks_per_class(runs[0], attacks), []
    else:
        table = _runs_per_class(runs, chosen, turned, caption="The same in figures: correct per class, with intervals")
        others = [n for n in reversed(attacks) if n != chosen]
        named = [(n, f"{wording.attack_name(n)}, per class") for n in others]
        folded = [_runs_per_class(runs, n, _turned(runs, n), caption=caption) for n, caption in named]
    if len(order) < count:
        charts += profiles_charts(runs, chosen)
        folded = [replace(table, caption=f"All {count} classes in figures"), *folded]
        table = replace(table, rows=[table.rows[i] for i in order])
    return Section(heading="Class by class", text=text, charts=charts, tables=[table], folded=folded)


def _bars_chart(runs: Sequence[Run], attacks: Sequence[str], chosen: str, order: NDArray[np.intp]) -> Chart:
    count = len(runs[0].audit.classes)
    clean = "clean" if chosen != "clean" and "clean" in attacks and len(runs) <= 2 else None
    names = [runs[0].audit.classes[i] for i in order]
    bars = [class_values(run, chosen, order, clean=clean) for run in runs]
    caption = f"{wording.attack_name(chosen)}, weakest class first. Whiskers: the interval. Dashed: the average."
    caption += " Upright stroke: the class without attack." if clean else ""
    caption += f" These are the {len(order)} weakest of {count} classes." if len(order) < count else ""
    return drawn(
        caption,
        lambda width: svg.class_bars(names, bars, width=width),
        name="classes",
        title=f"Accuracy per class, {wording.attack_name(chosen)}",
        description=" ".join(f"{run.name}: {wording.headline(run.audit.attacks[chosen])}" for run in runs),
    )


def profiles_charts(runs: Sequence[Run], chosen: str) -> list[Chart]:
    """How the accuracies of many classes are distributed, a panel per run."""
    count = len(runs[0].audit.classes)
    return panel_charts(
        runs,
        chosen,
        np.arange(count),
        panels.profiles,
        caption=f"All {count} classes from the weakest to the strongest, in each model's own order. In colour: the "
        "lowest tenth. Dashed: the average.",
        title=f"How the accuracies of all classes are distributed, {wording.attack_name(chosen)}",
    )


def panel_charts(
    runs: Sequence[Run],
    chosen: str,
    order: NDArray[np.intp],
    draw: Callable[..., Figure],
    *,
    caption: str,
    title: str,
) -> list[Chart]:
    """A small panel per run, in as many drawings as it takes for each to fit a page.

    Args:
        runs: the runs.
        chosen: the attack.
        order: the classes, in the order in which `draw` gets their accuracies.
        draw: takes the accuracies of some runs and `width`.
        caption: stands beneath the first drawing.
        title: what the drawings are.
    """
    charts = []
    for start in range(0, len(runs), panels.MOST):
        part = runs[start : start + panels.MOST]
        bars = [class_values(run, chosen, order) for run in part]
        chart = drawn(
            caption if start == 0 else f"Models {start + 1} to {start + len(part)}.",
            lambda width, bars=bars: draw(bars, width=width),  # type: ignore[misc]
            name=f"panels-{start + 1}",
            title=title,
            description=" ".join(f"{run.name}: {wording.headline(run.audit.attacks[chosen])}" for run in part),
        )
        charts.append(chart)
    return charts


def _weakest_first(runs: Sequence[Run], attack: str) -> NDArray[np.intp]:
    """The classes to draw: those that are weakest in any run, ordered by the first one; classes without images last."""
    values = np.array([[c.accuracy.value for c in run.audit.attacks[attack].classes] for run in runs])
    values = np.nan_to_num(values, nan=2.0)
    weakest = np.argsort(values.min(axis=0), kind="stable")
    weakest = weakest if len(weakest) <= MANY else weakest[:WEAKEST]
    return weakest[np.argsort(values[0, weakest], kind="stable")]


def class_values(run: Run, chosen: str, order: NDArray[np.intp], *, clean: str | None = None) -> svg.Bars:
    """A run's accuracies under an attack, class by class in this order, and where named those under `clean`."""

    def column(attack: Attack, field: str) -> NDArray[np.float64]:
        return np.array([getattr(attack.classes[i].accuracy, field) for i in order], dtype=np.float64)

    attack = run.audit.attacks[chosen]
    return svg.Bars(
        name=run.name,
        value=column(attack, "value"),
        low=column(attack, "low"),
        high=column(attack, "high"),
        average=attack.average.value,
        clean=None if clean is None else column(run.audit.attacks[clean], "value"),
    )


def _attacks_per_class(run: Run, attacks: Sequence[str]) -> Table:
    head = ["Class", "Images", *(f"{wording.attack_name(name)}, %" for name in attacks)]
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
    """From the first run to the last; None where there is one alone, or the two did not see the same images."""
    before, after = runs[0].verdicts, runs[-1].verdicts
    if len(runs) == 1 or before is None or after is None or attack not in before.correct or attack not in after.correct:
        return None
    if not (np.array_equal(before.index, after.index) and np.array_equal(before.label, after.label)):
        return None
    if len({runs[0].audit.fingerprint, runs[-1].audit.fingerprint} - {None}) > 1:
        return None
    old, new = before.correct[attack], after.correct[attack]
    count = len(runs[0].audit.classes)
    won, lost = before.label[~old & new], before.label[old & ~new]
    return np.bincount(won, minlength=count), np.bincount(lost, minlength=count)


def _turned_sentence(runs: Sequence[Run], turned: Turned) -> str:
    won, lost = (int(counts.sum()) for counts in turned)
    return wording.turned_sentence(runs[0].name, runs[-1].name, won, lost, runs[0].audit.n)
