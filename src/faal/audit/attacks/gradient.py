"""Projected gradient descent as an attack of an audit, on the cross-entropy (PGD) or on the margin (CW)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faal.audit.attacks.protocol import AttackedBlock
from faal.config import Threat
from faal.config.choices import LossName
from faal.inner.modes import attacked
from faal.inner.norms import NORMS
from faal.inner.pgd import LOSSES, pgd_step


@dataclass(frozen=True)
class GradientAttack:
    """PGD for evaluation: uniform random starts, steps of epsilon/4, the success of any iterate is kept.

    `loss` is `ce` (cross-entropy; PGD-20) or `cw` (the margin of the logits; CW-20). The first of several restarts
    is that of the attack with one.
    """

    name: str
    loss: LossName
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

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        generator = torch.Generator().manual_seed(block.seed)
        adversarial, active = block.images.clone(), block.active
        for start in range(self.restarts):
            # Drawn on the CPU for the full block: the same on every device, for any active samples.
            noise = torch.rand(adversarial.shape, generator=generator).to(adversarial.device)
            if start > 0:
                with torch.no_grad():
                    active = active & (model(adversarial).argmax(dim=1) == block.labels)
            if not active.any():  # not every network accepts an empty batch
                break
            adversarial[active] = self._search(
                model, block.images[active], block.labels[active], noise[active], block.threat
            )
        return adversarial

    def _search(self, model: nn.Module, images: Tensor, labels: Tensor, noise: Tensor, threat: Threat) -> Tensor:
        """`inner.pgd` with `keep_success`, but a misclassified sample is removed from the batch to save forwards."""
        ball, step_size = NORMS[threat.norm], threat.epsilon / 4
        with attacked(model), torch.enable_grad():
            ascent = LOSSES[self.loss](model, images)
            adversarial = ball.start(images, threat.epsilon, noise)
            rows = torch.arange(len(images), device=images.device)
            for _ in range(self.steps):
                batch = adversarial[rows], images[rows], labels[rows]
                moved, logits = pgd_step(model, ascent, *batch, threat.epsilon, step_size, ball)
                correct = logits.argmax(dim=1) == labels[rows]
                rows = rows[correct]
                if not len(rows):
                    break
                adversarial[rows] = moved[correct]
        return adversarial
