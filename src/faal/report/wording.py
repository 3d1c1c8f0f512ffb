"""The text of the page: numbers, names of attacks, and sentences computed from the accuracies."""

import math
import re
from collections.abc import Mapping, Sequence

from faal.epsilon import epsilon_text
from faal.report.files.changes import AttackChanges
from faal.report.files.run import AttackAccuracies, AuditRecord, CurveRecord, IntervalEstimate

NBSP = "\u00a0"

ATTACK_NAMES = {
    "clean": "No attack",
    "autoattack": "AutoAttack",
    "all": "All attacks together",
}

STRENGTH = ("all", "autoattack", "cw20", "pgd20")
"""The attack that a page reports first is the first of these that ran."""

GRADIENT_ATTACK = re.compile(r"(pgd|cw)(\d+)(?:x(\d+))?")
"""`pgd20`, or `pgd20x5` with five random starts."""

NORMS = {"linf": "L∞", "l2": "L2"}


# --- numbers ---------------------------------------------------------------------------------------------------------


def percent(value: float) -> str:
    """A fraction for a table, in percent without the sign: `71.3`."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def rounded_percent(value: float) -> str:
    """A fraction for a sentence, in percent without decimals; values that would be rounded to 0 have one."""
    if math.isnan(value):
        return "–"
    rounded = f"{100 * value:.0f}"
    return f"{100 * value:.1f}" if rounded == "0" and value > 0 else rounded


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign: `+11.3`, `−0.4`."""
    if math.isnan(difference):
        return "–"
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def interval(estimate: IntervalEstimate) -> str:
    """An interval for a table: `24.1 to 39.0`; empty where there is none."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{percent(estimate.low)}{NBSP}to{NBSP}{percent(estimate.high)}"


def points_interval(estimate: IntervalEstimate) -> str:
    """The interval of a difference: `+4.1 to +18.5`."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{points(estimate.low)}{NBSP}to{NBSP}{points(estimate.high)}"


def norm(name: str) -> str:
    """A norm's name in print: `L∞`."""
    return NORMS.get(name.lower(), name)


def threat(audit: AuditRecord) -> str:
    """The threat model: `L∞, ε = 8/255`."""
    return f"{norm(audit.norm)}, ε{NBSP}={NBSP}{epsilon_text(audit.epsilon)}"


def attack_name(name: str) -> str:
    """An attack's name in print."""
    if found := GRADIENT_ATTACK.fullmatch(name):
        kind, steps, starts = found.groups()
        return f"{kind.upper()}-{steps}" + (f" with {starts} random starts" if starts else "")
    return ATTACK_NAMES.get(name, name)


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


# --- choices ---------------------------------------------------------------------------------------------------------


def common_attacks(audits: Sequence[AuditRecord]) -> list[str]:
    """The attacks that every audit ran: clean first, all together last, the others in the first audit's order.

    `all` is included only where it combines the same attacks in every audit.
    """
    shared = [name for name in audits[0].attacks if all(name in audit.attacks for audit in audits)]
    if any(set(audit.attacks) != set(shared) for audit in audits):
        shared = [name for name in shared if name != "all"]
    rank = {"clean": 0, "all": 2}
    return sorted(shared, key=lambda name: rank.get(name, 1))


def strongest(names: Sequence[str]) -> str:
    """The attack that a page reports first."""
    attacks = [name for name in names if name != "clean"]
    return next((name for name in STRENGTH if name in attacks), (attacks or list(names))[-1])


# --- sentences -------------------------------------------------------------------------------------------------------


def _with_interval(estimate: IntervalEstimate) -> str:
    """A value with its interval: `31 % (24 to 39)`."""
    value = f"{rounded_percent(estimate.value)}{NBSP}%"
    low, high = rounded_percent(estimate.low), rounded_percent(estimate.high)
    return value if math.isnan(estimate.low) else f"{value} ({low}{NBSP}to{NBSP}{high})"


def change(before: float, after: float) -> str:
    """`increased from 31 % to 42 %`, `decreased from ...`, or `is unchanged at 31 %`, by the printed numbers."""
    old, new = rounded_percent(before), rounded_percent(after)
    if old == new:
        return f"is unchanged at {new}{NBSP}%"
    return f"{'increased' if after > before else 'decreased'} from {old}{NBSP}% to {new}{NBSP}%"


def accuracy(attack: str) -> str:
    """The name of the accuracy under an attack: `robust accuracy`, or `clean accuracy`."""
    return "clean accuracy" if attack == "clean" else "robust accuracy"


def without_images(attack: AttackAccuracies, of: str = "class") -> str:
    """A sentence on classes (or groups) without images, preceded by a space; empty if all have images."""
    names = [f"“{entry.name}”" for entry in attack.classes if not entry.n]
    names_text = f"{len(names)} {'classes' if of == 'class' else f'{of}s'}" if len(names) > 3 else listing(names)
    return f" The data has no images of {names_text}: accuracy there is unknown." if names else ""


def _worst(attack: AttackAccuracies, of: str = "class") -> str:
    """`the worst class`, or `the worst class with images` if some have none."""
    return f"the worst {of} with images" if without_images(attack) else f"the worst {of}"


def capital(text: str) -> str:
    """A text with a capital first letter."""
    return f"{text[0].upper()}{text[1:]}"


def headline(attack: AttackAccuracies) -> str:
    """The result of one audit."""
    return (
        f"{rounded_percent(attack.average.value)}{NBSP}% {accuracy(attack.name)} on average, "
        f"{_with_interval(attack.worst)} on {_worst(attack)}, “{attack.worst_class}”.{without_images(attack)}"
    )


def comparison_headline(before: AttackAccuracies, after: AttackAccuracies, changes: AttackChanges | None) -> str:
    """The change from one audit to another: an increase or a decrease only where the comparison establishes one."""
    old, new = before.worst, after.worst
    if before.worst_class == after.worst_class:
        worst = f"{_worst(after)}, “{after.worst_class}”,"
        start, end = _with_interval(old), _with_interval(new)
    else:
        worst = _worst(after)
        start, end = (
            f"{_with_interval(old)} on “{before.worst_class}”",
            f"{_with_interval(new)} on “{after.worst_class}”",
        )
    if changes is None:
        average = f"{rounded_percent(before.average.value)}{NBSP}% and {rounded_percent(after.average.value)}{NBSP}%"
        return (
            f"{capital(accuracy(after.name))} on {worst} is {start} before and {end} after; on average it is {average}."
            f"{without_images(after)}"
        )
    lost = f" Classes with an established loss: {listing(changes.lost)}." if changes.lost else ""
    return (
        f"{capital(accuracy(after.name))} on {worst} {_changed(changes.worst, start, end)}; on average it "
        f"{_changed(changes.average, *(f'{rounded_percent(each.average.value)}{NBSP}%' for each in (before, after)))}."
        f"{lost}{without_images(after)}"
    )


def _changed(difference: IntervalEstimate, start: str, end: str) -> str:
    """Such as `increased from 12 % to 47 % (+34.7 points, +29.9 to +39.1)`."""
    points_text = f"{points(difference.value)}{NBSP}points, {points_interval(difference)}"
    if difference.low <= 0 <= difference.high:
        return f"is {start} before and {end} after ({points_text}: a change is not established)"
    return f"{'increased' if difference.value > 0 else 'decreased'} from {start} to {end} ({points_text})"


def incomparable_headline(names: Sequence[str], attacks: Sequence[AttackAccuracies]) -> str:
    """The results of audits that cannot be compared; of up to three, each."""
    statement = "These models were not audited under the same conditions, so their accuracies cannot be compared"
    if len(names) > 3:
        return f"{statement}."
    each = [f"{_with_interval(attack.worst)} in {name}" for name, attack in zip(names, attacks, strict=True)]
    return f"{statement}: {accuracy(attacks[0].name)} on the worst class is {listing(each)}."


def group_sentence(attack: AttackAccuracies, name: str) -> str:
    """The accuracy on the worst group, with the model's name if there are several."""
    worst = (
        f"{capital(accuracy(attack.name))} on {_worst(attack, 'group')}, “{attack.worst_class}”, is "
        f"{_with_interval(attack.worst)}.{without_images(attack, 'group')}"
    )
    return f"{name}: {worst}" if name else worst


def best_headline(names: Sequence[str], attacks: Sequence[AttackAccuracies]) -> str:
    """The model with the highest accuracy on its worst class."""
    name, best = max(zip(names, attacks, strict=True), key=lambda pair: (pair[1].worst.value, pair[1].average.value))
    lowest = min(attacks, key=lambda attack: attack.worst.value).worst.value
    return (
        f"{capital(accuracy(best.name))} of {len(names)} models on {_worst(best)} is between "
        f"{rounded_percent(lowest)}{NBSP}% and {_with_interval(best.worst)}; it is highest in {name}, with "
        f"{rounded_percent(best.average.value)}{NBSP}% on average.{without_images(best)}"
    )


def curve_headline(curve: CurveRecord) -> str:
    """The change of the accuracy from no attack to the largest epsilon."""
    first, last = curve.points[0], curve.points[-1]
    return (
        f"From no attack to ε{NBSP}={NBSP}{epsilon_text(curve.epsilons[-1])}, accuracy on {_worst(last)} "
        f"{change(first.worst.value, last.worst.value)}; on average it "
        f"{change(first.average.value, last.average.value)}.{without_images(last)}"
    )


def demo_headline(
    means: Mapping[str, Mapping[str, IntervalEstimate]], differences: Mapping[str, IntervalEstimate], seeds: int
) -> str:
    """The effect of the repair, from the means over seeds by role and by `worst` or `average`, and from the paired
    differences of repair and base."""

    def effect(field: str) -> str:
        start, end = (f"{rounded_percent(means[role][field].value)}{NBSP}%" for role in ("base", "repaired"))
        if math.isnan(differences[field].low):  # one seed
            return change(means["base"][field].value, means["repaired"][field].value)
        return _changed(differences[field], start, end)

    worst, average = effect("worst"), effect("average")
    note = f" (means over {seeds} training seeds)" if seeds > 1 else ""
    return f"With the repair, robust accuracy on the worst class {worst}; on average it {average}{note}."


def paired_sentence(other: str, worst: IntervalEstimate, average: IntervalEstimate, level: float) -> str:
    """A difference between two models of each seed, with its t interval."""

    def difference(name: str, estimate: IntervalEstimate) -> str:
        found = points_interval(estimate)
        return f"{name} {points(estimate.value)}{NBSP}points" + (f" ({found})" if found else "")

    unit = f", paired by seed, {100 * level:g}{NBSP}% t intervals" if points_interval(worst) else ""
    return f"Compared with {other}{unit}: {difference('worst class', worst)}, {difference('average', average)}."


def verdict_changes_sentence(before: str, after: str, gained: int, lost: int, total: int) -> str:
    """The numbers of images that only the second, and only the first, of two models predicts correctly."""
    return (
        f"From {before} to {after}, of {total:,} test images, {gained:,} newly predicted correctly and "
        f"{lost:,} newly misclassified."
    )


def coverage(level: float) -> list[str]:
    """What the intervals cover, and what they do not."""
    return [
        "They cover the test sample: over repeated draws of test images, intervals computed in this way contain the "
        f"true accuracy in at least {100 * level:g}{NBSP}% of the draws. Per class they are exact binomial intervals; "
        "those of the worst class and of the gap account for the selection of the classes on the same images.",
        "They do not cover the training seed: the same recipe with another seed results in another model. A claim "
        "about a method needs several seeds and the deviation between them.",
        "They do not cover a stronger attack: robust accuracy is an upper bound, since every attack that was not run "
        "can only lower it.",
    ]
