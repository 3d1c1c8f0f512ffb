"""The protocol of an audit's attacks: the input and the output of an attack."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from faal.config import Threat


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackedBlock:
    """A block of images, and the attack's budget on it."""

    images: Tensor
    """(B, channels, H, W) float32 in [0, 1], the full block."""
    labels: Tensor
    """(B,) int64."""
    active: Tensor
    """(B,) bool, the samples to attack. The others are part of the block so that the random numbers of a sample depend
    only on its position in the block."""
    threat: Threat
    """The ball that bounds the change."""
    seed: int
    """The seed of the block, the only source of randomness."""
    num_classes: int
    """Width of the model's output."""


class Attack(Protocol):
    """An attack on a block. Its images are confirmed by `judge_attack`."""

    @property
    def name(self) -> str: ...

    def parameters(self, *, threat: Threat, num_classes: int) -> dict[str, Any]:
        """The attack's settings for a threat and a number of classes, for the record."""

    def caveats(self, *, num_classes: int) -> tuple[str, ...]:
        """Sentences that are reported with the attack's accuracies."""

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        """Adversarial images of the block's shape; the images of samples that are not active are unchanged.

        Args:
            model: the network, in evaluation mode.
            block: the images, and the attack's budget on them.
            warn: called with sentences about signs of misuse.
        """
