"""The table of attacks, and the protocol that an attack on a block of images follows."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor, nn

from faal.audit.attacks.autoattack import StandardEnsemble
from faal.audit.attacks.gradient import GradientAttack
from faal.config import Threat
from faal.errors import unknown

CLEAN = "clean"
"""The images without attack. Every audit begins with it: an attack starts from the samples predicted correctly here."""

NAMES = (CLEAN, "pgd20", "cw20", "autoattack")
"""The usual names; `pgd` and `cw` accept any number of steps, then `x5` for five random starts."""


class Attack(Protocol):
    """An attack on a block. It only proposes images; `judge_attack` decides whether they count."""

    @property
    def name(self) -> str: ...

    def parameters(self, *, threat: Threat, num_classes: int) -> dict[str, Any]:
        """Its settings in this ball and for this number of classes, for the record."""

    def caveats(self, *, num_classes: int) -> tuple[str, ...]:
        """Sentences that are reported with its accuracies."""

    def run(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        active: Tensor,
        threat: Threat,
        seed: int,
        num_classes: int,
        warn: Callable[[str], None],
    ) -> Tensor:
        """Adversarial images for a block.

        Args:
            model: the network, in evaluation mode.
            images: (B, channels, H, W) float32 in [0, 1], the full block.
            labels: (B,) int64.
            active: (B,) bool, the samples to attack. The others are returned unchanged; they are passed so that the
                random numbers of a sample depend on its position in the block only.
            threat: the ball that bounds the change.
            seed: the block's seed; the only source of randomness.
            num_classes: width of the model's output.
            warn: called with sentences about signs of misuse.
        """


def attack_named(name: str) -> Attack:
    """The attack of a name: `pgd20`, `cw20`, any `pgdK` or `cwK` of K steps, `pgdKxR` with R starts, or `autoattack`.

    Raises:
        InputError: there is no such attack.
    """
    if name == "autoattack":
        return StandardEnsemble()
    if match := re.fullmatch(r"(pgd|cw)([1-9]\d{0,4})(?:x([1-9]\d{0,2}))?", name):
        loss, steps, restarts = {"pgd": "ce", "cw": "cw"}[match[1]], int(match[2]), int(match[3] or 1)
        return GradientAttack(name, loss=loss, steps=steps, restarts=restarts)
    raise unknown("attack", name, NAMES, see="`faal audit --help`")


def attacks_named(names: str | Iterable[str]) -> tuple[Attack, ...]:
    """The attacks of several names (an iterable, or one string with commas), without `clean` and without repeats.

    Raises:
        InputError: there is no such attack.
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    return tuple(attack_named(name) for name in dict.fromkeys(names) if name != CLEAN)
