"""Accuracy per class: bar charts, and tables of the same accuracies."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faal.report import wording
from faal.report.charts import panels, svg
from faal.report.elements import Cell, Chart, Section, Table, count_cell, drawn, estimate_cell, points_cell, text_cell
from faal.report.files.changes import AttackChanges, Changes
from faal.report.files.run import AttackAccuracies, RunFiles
from faal.report.sections import common

MANY_CLASSES, WORST_SHOWN = 24, 10
"""Of more than `MANY_CLASSES` the page shows the worst ones and the distribution of all; a collapsed table has all, or
of thousands the lowest and highest."""

VerdictChanges = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Images per class (C,) that only the last run predicts correctly, and that only the first does."""


def classes_section(
    runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str, differences: Changes | None = None
) -> Section:
    """Bars and table of up to three runs under the chosen attack; the other attacks' tables are collapsed."""
    order, count = _worst_first(runs, chosen), len(runs[0].audit.classes)
    charts = [_bars_chart(runs, attacks, chosen, order)]
    changes = _verdict_changes(runs, chosen)
    text = [] if changes is None else [_changes_sentence(runs, changes)]
    if len(runs) == 1:
        table, collapsed = _attacks_per_class(runs[0], attacks), []
    else:
        by_attack = {} if differences is None else differences.attacks
        table = _runs_per_class(
            runs, chosen, changes, by_attack.get(chosen), caption="Accuracy per class, with intervals"
        )
        others = [n for n in reversed(attacks) if n != chosen]
        captions = [(n, f"{wording.attack_name(n)}, per class") for n in others]
        collapsed = [
            _runs_per_class(runs, n, _verdict_changes(runs, n), by_attack.get(n), caption=caption)
            for n, caption in captions
        ]
    if len(order) < count:
        charts += profiles_charts(runs, chosen)
        caption = f"Accuracy of all {count} classes, with intervals" if count <= common.MAX_ROWS else table.caption
        collapsed = [
            common.bounded(each, _lowest(runs, chosen)) for each in (replace(table, caption=caption), *collapsed)
        ]
        table = replace(table, rows=[table.rows[i] for i in order])
    return Section(heading="Accuracy per class", text=text, charts=charts, tables=[table], collapsed=collapsed)


def _bars_chart(runs: Sequence[RunFiles], attacks: Sequence[str], chosen: str, order: NDArray[np.intp]) -> Chart:
    count = len(runs[0].audit.classes)
    clean = "clean" if chosen != "clean" and "clean" in attacks and len(runs) <= 2 else None
    names = [runs[0].audit.classes[i] for i in order]
    bars = [class_values(run, chosen, order, clean=clean) for run in runs]
    caption = f"{wording.attack_name(chosen)}, worst class first. Whiskers: intervals. Dashed line: the average."
    caption += " Vertical mark: accuracy without attack." if clean else ""
    caption += f" These are the {len(order)} worst of {count} classes." if len(order) < count else ""
    return drawn(
        caption,
        lambda width: svg.class_bars(names, bars, width=width),
        name="classes",
        title=f"Accuracy per class, {wording.attack_name(chosen)}",
        description=" ".join(f"{run.name}: {wording.headline(run.audit.attacks[chosen])}" for run in runs),
    )


def profiles_charts(runs: Sequence[RunFiles], chosen: str) -> list[Chart]:
    """The distribution of the accuracies of many classes, a panel per run."""
    count = len(runs[0].audit.classes)
    return panel_charts(
        runs,
        chosen,
        np.arange(count),
        panels.profiles,
        caption=f"All {count} classes from the worst to the best, in the order of each model. In colour: the worst "
        "tenth. Dashed line: the average.",
        title=f"Distribution of the accuracies over the classes, {wording.attack_name(chosen)}",
    )


def panel_charts(
    runs: Sequence[RunFiles],
    chosen: str,
    order: NDArray[np.intp],
    draw: Callable[..., Figure],
    *,
    caption: str,
    title: str,
) -> list[Chart]:
    """A panel per run, in several figures, each of which fits on a page.

    Args:
        runs: the runs.
        chosen: the attack.
        order: the classes, in the order in which `draw` receives their accuracies.
        draw: called with the `svg.Bars` of some runs, and `width`.
        caption: the caption of the first drawing.
        title: the title of the drawings, for screen readers.
    """
    charts = []
    for start in range(0, len(runs), panels.MAX_PANELS):
        part = runs[start : start + panels.MAX_PANELS]
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


def _worst_first(runs: Sequence[RunFiles], attack: str) -> NDArray[np.intp]:
    """Classes to draw: those with the lowest accuracy in any run, in the order of the first run; those without images
    last."""
    worst = np.argsort(_lowest(runs, attack), kind="stable")
    worst = worst if len(worst) <= MANY_CLASSES else worst[:WORST_SHOWN]
    return worst[np.argsort(_lowest(runs[:1], attack)[worst], kind="stable")]


def _lowest(runs: Sequence[RunFiles], attack: str) -> NDArray[np.float64]:
    """(C,) each class's lowest accuracy in any run; nan without images in any run."""
    values = np.array([[c.accuracy.value for c in run.audit.attacks[attack].classes] for run in runs])
    lowest: NDArray[np.float64] = np.fmin.reduce(values, axis=0)
    return lowest


def class_values(run: RunFiles, chosen: str, order: NDArray[np.intp], *, clean: str | None = None) -> svg.Bars:
    """A run's accuracies per class under an attack, in this order, and those under `clean` if it is given."""

    def column(attack: AttackAccuracies, field: str) -> NDArray[np.float64]:
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


def _attacks_per_class(run: RunFiles, attacks: Sequence[str]) -> Table:
    head = ["Class", "Images", *(f"{wording.attack_name(name)}, %" for name in attacks)]
    rows = []
    for i, name in enumerate(run.audit.classes):
        accuracies = [run.audit.attacks[attack].classes[i] for attack in attacks]
        rows.append([text_cell(name), count_cell(accuracies[0].n), *(estimate_cell(c.accuracy) for c in accuracies)])
    return Table(caption="Accuracy per class and attack, with intervals", head=head, rows=rows)


def _runs_per_class(
    runs: Sequence[RunFiles],
    attack: str,
    changes: VerdictChanges | None,
    differences: AttackChanges | None,
    *,
    caption: str,
) -> Table:
    difference = "Change, points" if len(runs) == 2 else f"{runs[0].name} to {runs[-1].name}, points"
    head = ["Class", "Images", *(f"{run.name}, %" for run in runs), difference]
    head += ["Newly correct", "Newly misclassified"] if changes is not None else []
    rows = []
    for i, name in enumerate(runs[0].audit.classes):
        accuracies = [run.audit.attacks[attack].classes[i] for run in runs]
        row = [text_cell(name), count_cell(accuracies[0].n), *(estimate_cell(c.accuracy) for c in accuracies)]
        row.append(_change_cell(accuracies[-1].accuracy.value - accuracies[0].accuracy.value, name, differences))
        rows.append(row + [count_cell(int(counts[i])) for counts in changes or ()])
    return Table(caption=caption, head=head, rows=rows)


def _change_cell(difference: float, name: str, differences: AttackChanges | None) -> Cell:
    """A class's difference, with its interval and whether it is established where the audits were compared."""
    cell = points_cell(difference)
    if differences is None or name not in differences.classes:
        return cell
    found = differences.classes[name]
    return replace(
        cell, note=wording.points_interval(found.difference) + ("" if found.established else ", not established")
    )


def _verdict_changes(runs: Sequence[RunFiles], attack: str) -> VerdictChanges | None:
    """Changes from the first run to the last; None for one run, or for audits on different images."""
    before, after = runs[0].verdicts, runs[-1].verdicts
    if len(runs) == 1 or before is None or after is None or attack not in before.correct or attack not in after.correct:
        return None
    if not (np.array_equal(before.index, after.index) and np.array_equal(before.label, after.label)):
        return None
    if len({runs[0].audit.fingerprint, runs[-1].audit.fingerprint} - {None}) > 1:
        return None
    old, new = before.correct[attack], after.correct[attack]
    count = len(runs[0].audit.classes)
    newly_correct, newly_misclassified = before.label[~old & new], before.label[old & ~new]
    return np.bincount(newly_correct, minlength=count), np.bincount(newly_misclassified, minlength=count)


def _changes_sentence(runs: Sequence[RunFiles], changes: VerdictChanges) -> str:
    newly_correct, newly_misclassified = (int(counts.sum()) for counts in changes)
    return wording.verdict_changes_sentence(
        runs[0].name, runs[-1].name, newly_correct, newly_misclassified, runs[0].audit.n
    )
