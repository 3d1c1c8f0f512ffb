"""Tables of an audit, and of a comparison of two, for the terminal. In per cent; differences in percentage points."""

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from faal.audit.comparison.compare import Comparison
from faal.audit.comparison.difference import AttackComparison, Difference
from faal.audit.estimates import lowest_tenth
from faal.audit.records.result import AttackResult, AuditResult, Estimate, percent
from faal.audit.records.verdicts import ALL
from faal.config import Threat

ROWS = 20
"""The number of classes shown; if there are more, those with the lowest accuracy."""


def table(result: AuditResult, *, rows: int = ROWS) -> RenderableType:
    """Average, balanced and worst-class accuracy per attack with their intervals; the dispersion over the
    classes; then classes by attacks.

    Args:
        result: the audit.
        rows: the number of classes to show; if there are more, those with the lowest accuracy under `all`.
    """
    title = f"Accuracy in % with {result.level:.0%} intervals, n = {result.data['n']}, {Threat(**result.threat)}"
    overall = titled(title, ["attack"], ["average", "balanced", "worst class"], ["which"])
    for name, found in result.attacks.items():
        estimates = [estimate_text(entry) for entry in (found.average, found.balanced, found.worst)]
        plain_row(overall, name, *estimates, found.worst.name)

    accuracies = [np.inf if entry.value is None else entry.value for entry in result.attacks[ALL].classes]
    shown = _smallest(accuracies, rows)
    per_class = titled(_classes_title("Accuracy per class in %", shown, accuracies), ["class"], ["n", *result.attacks])
    for c in shown:
        entries = [found.classes[c] for found in result.attacks.values()]
        plain_row(per_class, entries[0].name, str(entries[0].n), *(percent(entry.value) for entry in entries))
    grouped = [_by_group(result, name, rows) for name in result.groups]
    notes = [Text(f"Note: {warning}") for warning in result.warnings]
    return Group(overall, _dispersion(result), per_class, *grouped, *notes)


def _dispersion(result: AuditResult) -> Table:
    """Gap, standard deviation and, with many classes, the worst tenth; a dash for audits of an earlier version."""
    found = list(result.attacks.values())
    many = [entry.worst_tenth for entry in found if entry.worst_tenth is not None]
    tenth = [f"worst {len(many[0].names)} classes, mean"] if many else []
    grid = titled(
        f"Dispersion over the classes, in % with {result.level:.0%} intervals",
        ["attack"],
        ["best - worst", "standard deviation", *tenth],
        ["best, worst"],
    )
    for name, entry in result.attacks.items():
        estimates = (entry.gap, entry.deviation, *([entry.worst_tenth] if many else []))
        plain_row(
            grid,
            name,
            *("-" if estimate is None else estimate_text(estimate) for estimate in estimates),
            _best_and_worst(entry),
        )
    return grid


def _by_group(result: AuditResult, name: str, rows: int) -> Table:
    """Groups by attacks, each with its interval; if there are many, those with the lowest accuracy."""
    found = result.groups[name]
    accuracies = [np.inf if entry.value is None else entry.value for entry in found[ALL].classes]
    shown = _smallest(accuracies, rows)
    title = _classes_title(f"Accuracy by {name} in % with {result.level:.0%} intervals", shown, accuracies)
    grid = titled(title, [name], ["n", *found])
    for i in shown:
        entries = [each.classes[i] for each in found.values()]
        plain_row(grid, entries[0].name, str(entries[0].n), *map(estimate_text, entries))
    return grid


def _best_and_worst(entry: AttackResult) -> str:
    return "-" if entry.gap is None else f"{entry.gap.best}, {entry.gap.worst}"


def comparison_table(comparison: Comparison, *, rows: int = ROWS) -> RenderableType:
    """Both models and their difference per attack, the classes and groups under all attacks, and the conclusion.

    Args:
        comparison: the comparison.
        rows: the number of classes to show; if there are more, those with the smallest p.
    """
    a, b = comparison.name_a, comparison.name_b
    title = f"Accuracy in % with {comparison.level:.0%} intervals of the difference, {Threat(**comparison.threat)}"
    overall = titled(title, ["attack", ""], [a, b, "difference"])
    for name, found in comparison.attacks.items():
        for label, entry in _overall(found):
            plain_row(overall, name, label, percent(entry.a), percent(entry.b), difference_text(entry))
        for grouping, by_attack in comparison.groups.items():
            worst = by_attack[name].worst
            plain_row(overall, name, f"worst {grouping}", percent(worst.a), percent(worst.b), difference_text(worst))
    return Group(
        overall,
        _per_class_table(comparison, comparison.attacks[ALL], "class", "Per class", "classes", rows),
        *(
            _per_class_table(comparison, found[ALL], name, f"By {name}", "groups", rows)
            for name, found in comparison.groups.items()
        ),
        Text(comparison.conclusion),
    )


def _overall(found: AttackComparison) -> Iterator[tuple[str, Difference]]:
    """The estimates over the classes, with their names."""
    yield from (("average", found.average), ("balanced", found.balanced), ("worst class", found.worst))
    if found.worst_tenth is not None:
        yield f"worst {lowest_tenth(len(found.classes))} classes, mean", found.worst_tenth
    yield "best - worst", found.gap


def _per_class_table(
    comparison: Comparison, found: AttackComparison, heading: str, title: str, kind: str, rows: int
) -> Table:
    """A row per class (or group); of many, those with the smallest p."""
    p_values = [entry.p for entry in found.classes]
    shown = _smallest(p_values, rows)
    title = _classes_title(f"{title} under all attacks, corrected for all {kind}", shown, p_values)
    grid = titled(title, [heading], [comparison.name_a, comparison.name_b, "difference", "p"])
    for i in shown:
        entry = found.classes[i]
        plain_row(grid, entry.name, percent(entry.a), percent(entry.b), difference_text(entry), f"{entry.p:.2g}")
    return grid


def titled(title: str, left: Sequence[str], right: Sequence[str], last: Sequence[str] = ()) -> Table:
    """An empty table with its title and columns: `left` and `last` are aligned left, `right` right."""
    grid = Table(title=Text(title), title_justify="left")
    for headings, justify in ((left, "left"), (right, "right"), (last, "left")):
        for heading in headings:
            grid.add_column(Text(heading), justify=justify)  # type: ignore[arg-type]
    return grid


def plain_row(grid: Table, *cells: str) -> None:
    """A row of plain text, without markup: a class may be named `[red]`."""
    grid.add_row(*(Text(cell) for cell in cells))


def _smallest(keys: Sequence[float], rows: int) -> list[int]:
    """The indices of the `rows` smallest keys, in the order of the data."""
    return sorted(int(i) for i in np.argsort(keys, kind="stable")[:rows])


def _classes_title(title: str, shown: Sequence[int], all_values: Sequence[float]) -> str:
    return title if len(shown) == len(all_values) else f"{title}: {len(shown)} of {len(all_values)}"


def estimate_text(entry: Estimate) -> str:
    """An estimate in per cent, with its interval."""
    return f"{percent(entry.value)} ({percent(entry.low)} to {percent(entry.high)})"


def difference_text(entry: Difference) -> str:
    """In percentage points, with its interval."""
    return f"{100 * entry.value:+.1f} ({100 * entry.low:+.1f} to {100 * entry.high:+.1f})"
