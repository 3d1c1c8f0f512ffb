"""The result of a repair for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from faal.audit.comparison.difference import AttackComparison, difference
from faal.audit.records.result import percent
from faal.audit.terminal import difference_text, plain_row, titled
from faal.repair.choice import BASE
from faal.repair.run import Repair
from faal.repair.verdicts import LEVEL, HeldOutVerdicts


@dataclass(frozen=True)
class Change:
    """The difference of the chosen network and the base on the same images."""

    found: AttackComparison
    images: int
    chosen_on: bool
    """Whether the choice was made on these images."""


def change(repair: Repair) -> Change:
    """The difference on the second part where there is one, else on the images of the choice."""
    assert repair.base is not None
    assert repair.chosen is not None
    before, after = repair.second or (repair.base, repair.chosen)
    return Change(compared(before, after), len(before.correct), repair.second is None)


def compared(before: HeldOutVerdicts, after: HeldOutVerdicts) -> AttackComparison:
    """The differences of two networks on the same images, as `faal compare` computes them."""
    return difference(before.groups, before.correct[None], after.correct[None], before.names, LEVEL, 0)


def result_table(repair: Repair) -> Table:
    """Average and worst class before and after, and the classes that changed by more than chance, in per cent."""
    shown = change(repair)
    where = "images that the network was chosen on" if shown.chosen_on else "withheld images of no other use"
    grid = titled(
        f"Robust accuracy in % with {LEVEL:.0%} intervals of the difference, n = {shown.images} {where}",
        [""],
        ["before", "after", "difference"],
    )
    found = shown.found
    rows = [("average", found.average), ("worst class", found.worst)]
    rows += [(entry.name, entry) for entry in found.classes if entry.p < 1 - LEVEL]
    for name, entry in rows:
        plain_row(grid, name, percent(entry.a), percent(entry.b), difference_text(entry))
    return grid


def result_lines(repair: Repair) -> Iterator[str]:
    """What was chosen and why, what changed, and a caveat on the accuracies."""
    assert repair.choice is not None
    shown = change(repair)
    if repair.choice.name == BASE:
        yield f"the network is unchanged: {repair.choice.reason}"
        return
    yield f"chosen: {repair.choice.name}, {repair.choice.reason}"
    lost = [entry.name for entry in shown.found.classes if entry.p < 1 - LEVEL and entry.value < 0]
    yield f"classes that lost by more than chance: {', '.join(lost) or 'none'}"
    if shown.chosen_on:
        yield (
            "These accuracies are too high: the network was chosen on the same images. faal audit and faal compare "
            "evaluate it on others"
        )
