"""The table of the attacks of an audit, by name."""

import re
from collections.abc import Iterable

from faal.arguments import texts
from faal.audit.attacks.autoattack import StandardEnsemble
from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.protocol import Attack
from faal.config.choices import LossName
from faal.errors import InputError, described, unknown

CLEAN = "clean"
"""Evaluation without attack, the first part of every audit: attacks start from the samples predicted correctly."""

NAMES = (CLEAN, "pgd20", "cw20", "autoattack")
"""Common names; `pgd` and `cw` accept any number of steps, then `x5` for five random starts."""


LOSSES: dict[str, LossName] = {"pgd": "ce", "cw": "cw"}
"""Prefix of an attack's name -> the loss that it maximises."""


def attack_named(name: str) -> Attack:
    """The attack with a name: `pgd20`, `cw20`, any `pgdK` or `cwK` of K steps, `pgdKxR` with R starts, or `autoattack`.

    Raises:
        InputError: there is no such attack.
    """
    if not isinstance(name, str):
        raise InputError(f"an attack is a name, such as 'pgd20', not {described(name)}")
    if name == "autoattack":
        return StandardEnsemble()
    if match := re.fullmatch(r"(pgd|cw)([1-9]\d{0,4})(?:x([1-9]\d{0,2}))?", name):
        loss, steps, restarts = LOSSES[match[1]], int(match[2]), int(match[3] or 1)
        return GradientAttack(name, loss=loss, steps=steps, restarts=restarts)
    raise unknown("attack", name, NAMES, see="`faal audit --help`")


def attacks_named(names: str | Iterable[str]) -> tuple[Attack, ...]:
    """The attacks of several names (an iterable, or one string with commas), without `clean` and without repeats.

    Raises:
        InputError: there is no such attack.
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    each = texts("attacks", names, "pgd20")
    return tuple(attack_named(name) for name in dict.fromkeys(each) if name != CLEAN)
