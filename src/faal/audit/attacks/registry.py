"""The table of attacks: a name -> what is run on a block of images."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from faal.audit.attacks.autoattack import StandardEnsemble
from faal.config import Threat
from faal.errors import unknown
from faal.inner.modes import attacked
from faal.inner.norms import NORMS
from faal.inner.pgd import LOSSES, pgd_step

CLEAN = "clean"
"""The images as they are. Every audit begins with it: an attack starts from the samples that are correct here."""

NAMES = (CLEAN, "pgd20", "cw20", "autoattack")
"""The usual names; `pgd` and `cw` take any number of steps, and `x5` behind it for five random starts."""


class Attack(Protocol):
    """An attack on a block. It only proposes images; whether they count is decided where they are confirmed."""

    @property
    def name(self) -> str: ...

    def parameters(self, *, threat: Threat, num_classes: int) -> dict[str, Any]:
        """What it does in this ball and number of classes, for the record."""

    def caveats(self, *, num_classes: int) -> tuple[str, ...]:
        """Sentences that belong beside its figures."""

    def run(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        standing: Tensor,
        threat: Threat,
        seed: int,
        num_classes: int,
        warn: Callable[[str], None],
    ) -> Tensor:
        """Adversarial images for a block.

        Args:
            model: the network, in evaluation mode.
            images: (B, channels, H, W) float32 in [0, 1], the whole block.
            labels: (B,) int64.
            standing: (B,) bool, the samples to attack. The others come back as they are; they are here so that the
                random numbers of a sample depend on its place in the block and on nothing else.
            threat: the ball to stay in.
            seed: the block's seed; the only source of randomness.
            num_classes: width of the model's output.
            warn: takes sentences about signs of misuse.
        """


@dataclass(frozen=True)
class GradientAttack:
    """PGD for evaluation: uniform random starts, steps of epsilon/4, any iterate's success kept.

    `loss` is `ce` (cross-entropy; PGD-20) or `cw` (the margin of the logits; CW-20). The first of several starts is
    that of the attack with one.
    """

    name: str
    loss: str
    steps: int
    restarts: int = 1

    def parameters(self, *, threat: Threat, num_classes: int) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "steps": self.steps,
            "step_size": threat.epsilon / 4,
            "start": "uniform",
            "restarts": self.restarts,
            "keep_success": True,
        }

    def caveats(self, *, num_classes: int) -> tuple[str, ...]:
        return ()

    def run(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        standing: Tensor,
        threat: Threat,
        seed: int,
        num_classes: int,
        warn: Callable[[str], None],
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        adversarial = images.clone()
        for start in range(self.restarts):
            # Drawn on the CPU for the whole block: the same on every device, whichever samples stand.
            noise = torch.rand(images.shape, generator=generator).to(images.device)
            if start > 0:
                with torch.no_grad():
                    standing = standing & (model(adversarial).argmax(dim=1) == labels)
            if not standing.any():  # not every network takes an empty batch
                break
            adversarial[standing] = self._search(model, images[standing], labels[standing], noise[standing], threat)
        return adversarial

    def _search(self, model: nn.Module, images: Tensor, labels: Tensor, noise: Tensor, threat: Threat) -> Tensor:
        """`inner.pgd` with its successes kept, but a sample that fell leaves the batch instead of being asked about."""
        ball, step_size = NORMS[threat.norm], threat.epsilon / 4
        with attacked(model), torch.enable_grad():
            ascent = LOSSES[self.loss](model, images)
            adversarial = ball.start(images, threat.epsilon, noise)
            rows = torch.arange(len(images), device=images.device)
            for _ in range(self.steps):
                here = adversarial[rows], images[rows], labels[rows]
                moved, logits = pgd_step(model, ascent, *here, threat.epsilon, step_size, ball)
                stands = logits.argmax(dim=1) == labels[rows]
                rows = rows[stands]
                if not len(rows):
                    break
                adversarial[rows] = moved[stands]
        return adversarial


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
