"""The two points where the attack's path crosses the decision boundary (BAT; Sun et al. 2022, after friendly AT)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from faal.inner.modes import attacked
from faal.inner.norms import NORMS, Budget
from faal.inner.pgd import LOSSES, STARTS, AttackSettings, full_precision, pgd_step


class Crossing(NamedTuple):
    """Detached, (B, channels, H, W) each."""

    last_clean: Tensor
    """The last point before the first misclassified one: the start if that is misclassified, the end of the path
    if no point is."""
    first_adversarial: Tensor
    """One step beyond the first misclassified point; the end of the path if there is no such point or step."""


def crossing(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: AttackSettings,
    *,
    epsilon: Budget,
    step_size: Budget,
    noise: Tensor,
) -> Crossing:
    """Projected gradient ascent that stops, for each sample, one step after the first misclassified point.

    Arguments as in `pgd`.
    """
    images, norm = images.detach(), NORMS[attack.norm]
    with attacked(model, training=attack.training), torch.enable_grad():
        loss_fn = LOSSES[attack.loss](model, images)
        x_adv = last_clean = STARTS[attack.start](images, epsilon, noise, norm)
        crossed = torch.zeros_like(labels, dtype=torch.bool)
        for step in range(attack.steps):
            with full_precision(images, enabled=step == 0 and attack.loss == "kl"):
                stepped, logits = pgd_step(model, loss_fn, x_adv, images, labels, epsilon, step_size, norm)
            correct = logits.argmax(dim=1) == labels
            # A sample that was misclassified at an earlier point has made its additional step and is no longer changed.
            last_clean = torch.where(_per_pixel(correct & ~crossed), x_adv, last_clean)
            x_adv = torch.where(_per_pixel(crossed), x_adv, stepped)
            crossed = crossed | ~correct
        with torch.no_grad():
            correct = (
                model(x_adv.clone()).argmax(dim=1) == labels
            )  # if the last point is correct too, it is the last clean point
        last_clean = torch.where(_per_pixel(correct & ~crossed), x_adv, last_clean)
    return Crossing(last_clean.detach(), x_adv.detach())


def _per_pixel(mask: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return mask.view(-1, 1, 1, 1)
