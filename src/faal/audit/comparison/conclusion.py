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
    """The differences, the classes and groups that changed, the conclusion, and whether it is for models or methods.

    Args:
        name_a: the reference side.
        name_b: the other side, the subject of the sentences.
        runs: the number of runs per side.
        level: nominal coverage; a class is named where its corrected p-value is below 1 - level.
        attacks: the names of the attacks of `found`.
        found: the differences under all of them.
        groups: name of a grouping -> the differences by group.
        remarks: sentences about the two sides, placed first.
    """
    under = ", ".join(attacks) + (" together" if len(attacks) > 1 else "")
    return " ".join(
        (
            *remarks,
            f"Under {under}, {name_b} is {_compared_with(found.average, name_a)} on average over the "
            f"samples, and {_compared_with(found.worst, 'it')} in the worst class.",
            _changed(found, level, "Classes", "class"),
            *(_changed(by_group, level, f"Groups of {name}", f"group of {name}") for name, by_group in groups.items()),
            f"Conclusion: {_follows(name_a, name_b, found)}.",
            _scope(runs),
        )
    )


def _changed(found: AttackComparison, level: float, plural: str, singular: str) -> str:
    """The classes, or groups, with an established difference."""
    named = [f"{entry.name} ({100 * entry.value:+.1f})" for entry in found.classes if entry.p < 1 - level]
    corrected = f"by more than chance, corrected for all {len(found.classes)}"
    if named:
        return f"{plural} that differ {corrected}: {', '.join(named)}."
    # Both are possible: the worst class of each side is one test, a class is one of many tests.
    note = f"; the worst {singular} of one side is above the other's, which does not show which {singular} changed"
    return f"No single {singular} differs {corrected}{note if found.worst.established else ''}."


def _compared_with(difference: Difference, other: str) -> str:
    """Such as `4.2 points above base (+1.0 to +7.4)`; `not established` if the interval contains 0."""
    interval = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    note = "" if difference.established else ": not established"
    points = round(100 * difference.value, 1)
    position = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "equal to"
    return f"{position} {other} ({interval}{note})"


def _follows(name_a: str, name_b: str, found: AttackComparison) -> str:
    """Such as `repaired is better than base in the worst class; on average neither is shown to be better`."""
    statistics = (("on average", found.average), ("in the worst class", found.worst))
    better = [where for where, difference in statistics if difference.low > 0]
    worse = [where for where, difference in statistics if difference.high < 0]
    open_ = [where for where, difference in statistics if not difference.established]
    sentences = [
        f"{name_b} is {word} than {name_a} {' and '.join(where)}"
        for word, where in (("better", better), ("worse", worse))
        if where
    ]
    if open_:
        sentences.append(f"{' and '.join(open_)} neither is shown to be better")
    return "; ".join(sentences)


def _scope(runs: int) -> str:
    """Whether the conclusion is about the models or the methods."""
    if runs == 1:
        return (
            "This is about these two models, not their training methods: a claim about methods needs several "
            "training seeds per side."
        )
    return (
        "This is about the two methods on these test samples: the intervals cover the variation between training "
        f"runs, from {runs} pairs of runs, but not that between test samples."
    )
