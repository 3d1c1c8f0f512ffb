"""The conclusion of a comparison, in sentences."""

from collections.abc import Mapping, Sequence

from faal.audit.comparison.difference import AttackComparison, Difference


def conclusion(
    name_a: str,
    name_b: str,
    runs: int,
    level: float,
    attacks: Sequence[str],
    found: AttackComparison,
    groups: Mapping[str, AttackComparison],
    remarks: Sequence[str] = (),
) -> str:
    """The differences, the classes and groups that changed, what follows, and whether for models or methods.

    Args:
        name_a: the side compared with.
        name_b: the other side, the subject of the sentences.
        runs: runs a side.
        level: nominal coverage; a class is named where its corrected p-value is below 1 - level.
        attacks: the names of the attacks of `found`.
        found: the differences under all of them together.
        groups: the same by group, name of the grouping -> differences.
        remarks: sentences about the two sides, put first.
    """
    under = ", ".join(attacks) + (" together" if len(attacks) > 1 else "")
    return " ".join(
        (
            *remarks,
            f"Under {under}, {name_b} is {_against(found.average, name_a)} on average over the "
            f"samples, and {_against(found.worst, 'it')} in the worst class.",
            _changed(found, level, "Classes", "class"),
            *(_changed(by_group, level, f"Groups of {name}", f"group of {name}") for name, by_group in groups.items()),
            f"What follows: {_follows(name_a, name_b, found)}.",
            _scope(runs),
        )
    )


def _changed(found: AttackComparison, level: float, several: str, one: str) -> str:
    """The classes, or groups, with an established difference."""
    named = [f"{entry.name} ({100 * entry.value:+.1f})" for entry in found.classes if entry.p < 1 - level]
    corrected = f"by more than chance, corrected for all {len(found.classes)}"
    if named:
        return f"{several} that differ {corrected}: {', '.join(named)}."
    # Both may hold: the worst class of each side is one test, a class is one of many that are tested.
    note = f"; that the worst {one} of one side is above the other's does not concern a single {one}"
    return f"No single {one} differs {corrected}{note if found.worst.established else ''}."


def _against(difference: Difference, other: str) -> str:
    """Such as `4.2 points above base (+1.0 to +7.4)`; `not established` where the interval contains 0."""
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    note = "" if difference.established else ": not established"
    points = round(100 * difference.value, 1)
    position = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "equal to"
    return f"{position} {other} ({interval}{note})"


def _follows(name_a: str, name_b: str, found: AttackComparison) -> str:
    """Such as `repaired is better than base in the worst class; on average neither is shown to be better`."""
    figures = (("on average", found.average), ("in the worst class", found.worst))
    better = [where for where, difference in figures if difference.low > 0]
    worse = [where for where, difference in figures if difference.high < 0]
    open_ = [where for where, difference in figures if not difference.established]
    sentences = [
        f"{name_b} is {word} than {name_a} {' and '.join(where)}"
        for word, where in (("better", better), ("worse", worse))
        if where
    ]
    if open_:
        sentences.append(f"{' and '.join(open_)} neither is shown to be better")
    return "; ".join(sentences)


def _scope(runs: int) -> str:
    """Whether the conclusion holds for the models or the methods."""
    if runs == 1:
        return (
            "This holds for these two models, not the methods that made them: a claim about methods needs several "
            "training seeds per side."
        )
    return (
        "This holds for the two methods on these test samples: the intervals cover the variation between training "
        f"runs, from {runs} pairs of runs, and not that of another test sample."
    )
