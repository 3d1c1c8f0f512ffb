import io
from dataclasses import replace

import numpy as np
from rich.console import Console, RenderableType

from faal.audit.comparison.compare import compare
from faal.audit.run import audit
from faal.audit.terminal import comparison_table, table

CLASSES = ["ant", "bee", "cät", "d[red]g", "eel"]


def shown(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def line(text: str, *starts: str, under: str = "") -> str:
    """The first row whose first cells are these, below the title `under`."""
    rows = text[text.index(under) :].splitlines()
    return next(row for row in rows if [c.strip() for c in row.split("│")[1 : len(starts) + 1]] == [*starts])


def test_an_audit_as_a_table(problem) -> None:  # type: ignore[no-untyped-def]
    result = audit(problem.net, problem.images, problem.labels, classes=CLASSES, attacks="pgd5", epsilon=12 / 255)
    text = shown(table(result))
    assert "95% intervals, n = 60, linf epsilon 12/255" in text
    for name, found in result.attacks.items():
        assert found.average.value is not None
        row = line(text, name)
        assert (
            f"{100 * found.average.value:.1f} ({100 * found.average.low:.1f} to {100 * found.average.high:.1f})" in row
        )
        assert f"({100 * found.worst.low:.1f} to {100 * found.worst.high:.1f})" in row
        assert found.worst.name in row
        spread = line(text, name, under="Dispersion over the classes")
        for estimate in (found.gap, found.deviation):
            assert estimate is not None
            assert estimate.value is not None
            ends = f"({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
            assert f"{100 * estimate.value:.1f} {ends}" in spread
        assert f"{found.gap.best}, {found.gap.worst}" in spread  # type: ignore[union-attr]
    assert "worst 1" not in text
    for place, name in enumerate(CLASSES):
        cells = [cell.strip() for cell in line(text, name, under="Accuracy per class").split("│")[2:-1]]
        values = [found.classes[place].value for found in result.attacks.values()]
        assert cells == ["12", *(f"{100 * value:.1f}" for value in values if value is not None)]
    assert "Note: 5 classes have fewer than 30 samples" in text


def test_of_many_classes_the_weakest_are_shown(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(30, 60)
    result = audit(problem.net, problem.images[:50], problem.labels[:50], attacks="pgd5", epsilon=0.15)
    text = shown(table(result, rows=4))
    assert "4 of 30" in text
    values = np.array([entry.value for entry in result.attacks["all"].classes], dtype=float)
    for place in sorted(np.argsort(values, kind="stable")[:4].tolist()):
        assert line(text, str(place), "2" if place < 20 else "1")


def test_of_many_classes_the_worst_tenth_is_shown(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(21, 63)
    result = audit(problem.net, problem.images, problem.labels, attacks="clean")
    text = shown(table(result))
    assert "worst 3 classes, mean" in text
    found = result.attacks["clean"].worst_tenth
    assert found is not None
    assert found.value is not None
    assert f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})" in line(
        text, "clean", under="Dispersion over"
    )


def test_an_audit_of_an_earlier_version_has_dashes(problem) -> None:  # type: ignore[no-untyped-def]
    result = audit(problem.net, problem.images, problem.labels, attacks="clean")
    older = {name: replace(found, gap=None, deviation=None) for name, found in result.attacks.items()}
    text = shown(table(replace(result, attacks=older)))
    cells = [cell.strip() for cell in line(text, "clean", under="Dispersion over").split("│")[2:-1]]
    assert cells == ["-", "-", "-"]


def test_a_class_without_samples_is_a_dash(problem) -> None:  # type: ignore[no-untyped-def]
    some = problem.labels != 2
    result = audit(problem.net, problem.images[some], problem.labels[some], classes=CLASSES, attacks="clean")
    cells = [cell.strip() for cell in line(shown(table(result)), "cät", under="Accuracy per class").split("│")[2:-1]]
    assert cells == ["0", "-", "-"]


def test_a_comparison_as_a_table(problem, problem_of) -> None:  # type: ignore[no-untyped-def]
    other = problem_of(5, 60, seed=1)
    camera = {"camera": ["[old]", "new"] * 30}
    results = [
        audit(net, problem.images, problem.labels, classes=CLASSES, attacks="pgd5", epsilon=0.15, groups=camera)
        for net in (problem.net, other.net)
    ]
    found = compare("base", [results[0]], "o[b]ther", [results[1]])
    text = shown(comparison_table(found))
    worst = found.attacks["pgd5"].worst
    assert f"{100 * worst.value:+.1f} ({100 * worst.low:+.1f} to {100 * worst.high:+.1f})" in line(
        text, "pgd5", "worst class"
    )
    entry = found.attacks["all"].classes[3]
    assert f"{entry.p:.2g}" in line(text, "d[red]g")
    gap = found.attacks["pgd5"].gap
    assert f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f}" in line(text, "pgd5", "best - worst")
    by_camera = found.groups["camera"]["all"]
    assert f"{100 * by_camera.worst.a:.1f}" in line(text, "all", "worst camera")
    assert f"{by_camera.classes[1].p:.2g}" in line(text, "[old]", under="By camera under all attacks")
    assert "o[b]ther" in text
    assert found.conclusion in " ".join(text.split())
