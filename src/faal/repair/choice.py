"""The choice among the candidates of a repair, on withheld images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts, scores, share_better

BASE = "base"

ROUNDING = 1e-9


@dataclass(frozen=True)
class Selected:
    """The chosen candidate, and why."""

    name: str
    reason: str


def choose(candidates: Mapping[str, HeldOutVerdicts], settings: RepairSettings, rule: str) -> Selected:
    """The best candidate that loses little on average and is better than the base in most resamples of the images.

    Candidates whose average is more than `settings.largest_loss` below the base's are left out. The others are taken in
    the order of their score, the earliest of equals first; the first that has a higher score than the base in
    `settings.CONFIDENCE` of the resamples is chosen, and the base where there is none.

    Args:
        candidates: name -> verdicts, on the same images; the base is among them.
        settings: the repair's.
        rule: the score, a name of `selection.RULES`; with `max_average_loss` it is the worst class.
    """
    base = candidates[BASE]
    rule = rule if settings.max_average_loss is None else "worst"
    allowed = {
        name: float(scores(np.asarray(found.rates), found.average, rule))
        for name, found in candidates.items()
        if base.average - found.average <= settings.largest_loss + ROUNDING
    }
    for name in sorted(allowed, key=lambda each: -allowed[each]):
        if name == BASE:
            break
        share = share_better(base, candidates[name], rule)
        if share >= settings.CONFIDENCE:
            return Selected(name, f"better than the base in {share:.0%} of resamples of these images")
    left_out = len(candidates) - len(allowed)
    lost = f"; {left_out} lose more than {100 * settings.largest_loss:g} points on average" if left_out else ""
    return Selected(BASE, f"no candidate is better in {settings.CONFIDENCE:.0%} of resamples of these images{lost}")
