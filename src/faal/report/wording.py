"""How the page says things: numbers, names of attacks, and sentences made from the figures."""

import math
import re
from collections.abc import Mapping, Sequence

from faal.epsilon import epsilon_text
from faal.report.files.run import Attack, Audit, Curve, Estimate

NBSP = "\u00a0"

ATTACK_NAMES = {
    "clean": "No attack",
    "autoattack": "AutoAttack",
    "all": "All attacks together",
}

STRENGTH = ("all", "autoattack", "cw20", "pgd20")
"""Which attack a page speaks of: the first of these that ran."""

GRADIENT_ATTACK = re.compile(r"(pgd|cw)(\d+)(?:x(\d+))?")
"""`pgd20`, or `pgd20x5` from five random starts."""

NORMS = {"linf": "L∞", "l2": "L2"}


# --- numbers ---------------------------------------------------------------------------------------------------------


def percent(value: float) -> str:
    """A fraction for a table, in percent without the sign: `71.3`."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def whole(value: float) -> str:
    """A fraction for a sentence, in whole percent; small ones keep a digit, so that 0.4 % is not called none."""
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


def span(estimate: Estimate) -> str:
    """An interval for a table: `24.1 to 39.0`; empty where there is none."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{percent(estimate.low)}{NBSP}to{NBSP}{percent(estimate.high)}"


def points_span(estimate: Estimate) -> str:
    """The interval of a difference: `+4.1 to +18.5`."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{points(estimate.low)}{NBSP}to{NBSP}{points(estimate.high)}"


def norm(name: str) -> str:
    """A norm's name in print: `L∞`."""
    return NORMS.get(name.lower(), name)


def threat(audit: Audit) -> str:
    """The threat model: `L∞, ε = 8/255`."""
    return f"{norm(audit.norm)}, ε{NBSP}={NBSP}{epsilon_text(audit.epsilon)}"


def attack_name(name: str) -> str:
    """An attack's name in print."""
    if found := GRADIENT_ATTACK.fullmatch(name):
        kind, steps, starts = found.groups()
        return f"{kind.upper()}-{steps}" + (f", {starts} starts" if starts else "")
    return ATTACK_NAMES.get(name, name)


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


# --- choices ---------------------------------------------------------------------------------------------------------


def common_attacks(audits: Sequence[Audit]) -> list[str]:
    """The attacks that every audit ran: clean first, all together last, the others in the first audit's order.

    All together are the same attacks in every audit, or are left out.
    """
    shared = [name for name in audits[0].attacks if all(name in audit.attacks for audit in audits)]
    if any(set(audit.attacks) != set(shared) for audit in audits):
        shared = [name for name in shared if name != "all"]
    rank = {"clean": 0, "all": 2}
    return sorted(shared, key=lambda name: rank.get(name, 1))


def strongest(names: Sequence[str]) -> str:
    """The attack a page speaks of."""
    attacks = [name for name in names if name != "clean"]
    return next((name for name in STRENGTH if name in attacks), (attacks or list(names))[-1])


# --- sentences -------------------------------------------------------------------------------------------------------


def _standing(estimate: Estimate) -> str:
    """`31 % (24 to 39)`."""
    value = f"{whole(estimate.value)}{NBSP}%"
    interval = f"({whole(estimate.low)}{NBSP}to{NBSP}{whole(estimate.high)})"
    return value if math.isnan(estimate.low) else f"{value} {interval}"


def change(before: float, after: float) -> str:
    """`rose from 31 % to 42 %`, `fell from ...`, or `stayed at 31 %`, judged by the figures as printed."""
    old, new = whole(before), whole(after)
    if old == new:
        return f"stayed at {new}{NBSP}%"
    return f"{'rose' if after > before else 'fell'} from {old}{NBSP}% to {new}{NBSP}%"


def _condition(attack: str) -> str:
    return "Without any attack" if attack == "clean" else "Under attack"


def unseen(attack: Attack, of: str = "class") -> str:
    """Which classes, or groups, no image shows, as a sentence to go behind another; empty where all are shown."""
    names = [f"“{entry.name}”" for entry in attack.classes if not entry.n]
    several = f"{len(names)} {'classes' if of == 'class' else f'{of}s'}" if len(names) > 3 else listing(names)
    return f" No image shows {several}: nothing is known of {'it' if len(names) == 1 else 'them'}." if names else ""


def _weakest(attack: Attack, of: str = "class") -> str:
    """`the weakest class`, of those that were seen."""
    return f"the weakest {of} seen" if unseen(attack) else f"the weakest {of}"


def headline(attack: Attack) -> str:
    """What one audit found."""
    return (
        f"{_condition(attack.name)} {_weakest(attack)}, “{attack.worst_class}”, stands at {_standing(attack.worst)}; "
        f"the average is {whole(attack.average.value)}{NBSP}%.{unseen(attack)}"
    )


def comparison_headline(before: Attack, after: Attack) -> str:
    """What changed from one audit to another."""
    old, new = before.worst, after.worst
    if before.worst_class == after.worst_class:
        weakest = f"{_weakest(after)}, “{after.worst_class}”,"
        start, end = _standing(old), _standing(new)
    else:
        weakest = _weakest(after)
        start, end = f"{_standing(old)}, “{before.worst_class}”,", f"{_standing(new)}, “{after.worst_class}”"
    if whole(old.value) == whole(new.value):
        moved = f"stayed at {end}"
    else:
        moved = f"{'rose' if new.value > old.value else 'fell'} from {start} to {end}"
    average = change(before.average.value, after.average.value)
    return f"{_condition(after.name)} {weakest} {moved}; the average {average}.{unseen(after)}"


def apart_headline(names: Sequence[str], attacks: Sequence[Attack]) -> str:
    """What audits found whose figures do not compare, at most three of them one by one."""
    apart = "These models were not audited alike, and their figures do not compare"
    if len(names) > 3:
        return f"{apart}."
    told = [f"at {_standing(attack.worst)} in {name}" for name, attack in zip(names, attacks, strict=True)]
    return f"{apart}: {_condition(attacks[0].name).lower()} the weakest class stands {listing(told)}."


def group_sentence(attack: Attack, name: str) -> str:
    """The weakest of other groups than the classes, in the model of this name where there are several."""
    weakest = (
        f"{_condition(attack.name)} {_weakest(attack, 'group')}, “{attack.worst_class}”, stands at "
        f"{_standing(attack.worst)}.{unseen(attack, 'group')}"
    )
    return f"{name}: {weakest}" if name else weakest


def best_headline(names: Sequence[str], attacks: Sequence[Attack]) -> str:
    """Which of many models has the strongest weakest class."""
    name, best = max(zip(names, attacks, strict=True), key=lambda pair: (pair[1].worst.value, pair[1].average.value))
    lowest = min(attacks, key=lambda attack: attack.worst.value).worst.value
    return (
        f"{_condition(best.name)} {_weakest(best)} of {len(names)} models stands between {whole(lowest)}{NBSP}% and "
        f"{_standing(best.worst)}; highest in {name}, whose average is {whole(best.average.value)}{NBSP}%."
        f"{unseen(best)}"
    )


def curve_headline(curve: Curve) -> str:
    """How the accuracy falls from no attack to the largest radius."""
    first, last = curve.points[0], curve.points[-1]
    return (
        f"From no attack to ε{NBSP}={NBSP}{epsilon_text(curve.epsilons[-1])} {_weakest(last)} "
        f"{change(first.worst.value, last.worst.value)}; the average {change(first.average.value, last.average.value)}."
        f"{unseen(last)}"
    )


def demo_headline(means: Mapping[str, Mapping[str, Estimate]], seeds: int) -> str:
    """What the repair did, from the means over seeds by role and by `worst` or `average`."""
    base, repaired = means["base"], means["repaired"]
    worst = change(base["worst"].value, repaired["worst"].value)
    average = change(base["average"].value, repaired["average"].value)
    over = f" (means over {seeds} training seeds)" if seeds > 1 else ""
    return f"Repaired, the weakest class under attack {worst}; the average {average}{over}."


def paired_sentence(other: str, worst: Estimate, average: Estimate, level: float) -> str:
    """A difference between two models of each seed, with its t interval."""

    def told(name: str, difference: Estimate) -> str:
        interval = points_span(difference)
        return f"{name} {points(difference.value)}{NBSP}points" + (f" ({interval})" if interval else "")

    unit = f", paired by seed, {100 * level:g}{NBSP}% t intervals" if points_span(worst) else ""
    return f"Against {other}{unit}: {told('weakest class', worst)}, {told('average', average)}."


def turned_sentence(before: str, after: str, gained: int, lost: int, total: int) -> str:
    """What happened to single images from one model to another."""
    return (
        f"Image by image, from {before} to {after}: of {total:,} test images {gained:,} that fell now stand, "
        f"and {lost:,} that stood now fall."
    )


def coverage(level: float) -> list[str]:
    """What the intervals cover, and what they do not."""
    return [
        f"They cover the test sample: were other images of the same kind drawn, intervals made in this way would hold "
        f"the true accuracy in at least {100 * level:g}{NBSP}% of the draws. Per class they are exact binomial "
        "intervals; those of the weakest class and of the gap allow for the classes' having been picked for it.",
        "They do not cover the training seed: the same recipe trained again gives another model. A claim about a "
        "method needs several seeds and the spread between them.",
        "They do not cover a stronger attack: robust accuracy is an upper bound, since every attack that was not tried "
        "can only lower it.",
    ]
