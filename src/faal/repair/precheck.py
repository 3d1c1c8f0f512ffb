"""The decision before any training: whether a network is robust at all, and whether some classes are less so."""

from collections.abc import Callable
from dataclasses import dataclass

from faal.errors import InputError
from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts


@dataclass(frozen=True)
class Precheck:
    """The result."""

    repair: bool
    """Whether there is something to repair."""
    reason: str
    """One sentence, with the accuracies."""


def precheck(
    base: HeldOutVerdicts, settings: RepairSettings, *, num_classes: int, threat: str, clean: Callable[[], float]
) -> Precheck:
    """Decide from the base's verdicts on withheld images.

    A network has no robustness where the upper end of the interval of its robust accuracy is below 1.5 / C. There is
    nothing to repair where the lower end of the interval of its worst class is above its average less 5 points.

    Args:
        base: the verdicts.
        settings: the repair's; `force` allows both.
        num_classes: C.
        threat: the threat, in words.
        clean: returns the accuracy without attack. Where that is near chance too, the network was not trained, or its
            weights are not those of this network: this is noted, and the network is trained.

    Raises:
        InputError: no robustness, of a network that classifies images without attack.
    """
    average, worst = base.accuracies.average, base.accuracies.worst
    low = 0.0 if worst.low is None else worst.low
    found = (
        f"robust accuracy on {len(base.correct)} images {100 * base.average:.1f} % on average, "
        f"{100 * base.worst:.1f} % in the worst class ({worst.name})"
    )
    chance = settings.CHANCE / num_classes
    if (average.high or 0.0) < chance and not settings.force:
        if (accuracy := clean()) < chance:
            return Precheck(
                True, f"Before the repair: {found}. Without attack it is {100 * accuracy:.1f} %, near chance: check "
                "that these are the network's weights"
            )  # fmt: skip
        raise InputError(
            f"the network is not robust against {threat}: {found}, where chance is {100 / num_classes:.3g} %; a repair "
            "redistributes robustness and does not create it. Train it adversarially first (faal train RECIPE --from "
            "CHECKPOINT), or name the epsilon that it was trained for; --force repairs it all the same"
        )
    if low > base.average - settings.ALIKE and not settings.force:
        return Precheck(
            False,
            f"The network is left as it is: its classes are alike ({found}; the worst class's interval begins at "
            f"{100 * low:.1f} %). --force repairs it all the same",
        )
    return Precheck(True, f"Before the repair: {found}")
