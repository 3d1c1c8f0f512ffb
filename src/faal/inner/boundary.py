"""The two points where the attack's path crosses the decision boundary (BAT; Sun et al. 2022, after friendly AT)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from faal.inner.modes import attacked
from faal.inner.norms import NORMS, Budget
from faal.inner.pgd import LOSSES, STARTS, full_precision, pgd_step


class Crossing(NamedTuple):
    """Detached, (B, channels, H, W) each."""

    last_clean: Tensor
    """The last point before the first misclassified one: the start where that is misclassified already, the end of the
    path where no point is."""
    first_adversarial: Tensor
    """One step beyond the first misclassified point; the end of the path where there is no such point or step."""


def crossing(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: Budget,
    step_size: Budget,
    steps: int,
    loss: str,
    start: str,
    norm: str = "linf",
    noise: Tensor,
    training: bool = False,
) -> Crossing:
    """Follow projected gradient ascent and stop each sample soon after it is misclassified. Arguments as for `pgd`."""
    images, ball = images.detach(), NORMS[norm]
    with attacked(model, training=training), torch.enable_grad():
        ascent = LOSSES[loss](model, images)
        here = before = STARTS[start](images, epsilon, noise, ball)
        beyond = torch.zeros_like(labels, dtype=torch.bool)
        for step in range(steps):
            with full_precision(images, wanted=step == 0 and loss == "kl"):
                moved, logits = pgd_step(model, ascent, here, images, labels, epsilon, step_size, ball)
            right = logits.argmax(dim=1) == labels
            # A sample that was found misclassified has had its one step more and stays.
            before = torch.where(_wide(right & ~beyond), here, before)
            here = torch.where(_wide(beyond), here, moved)
            beyond = beyond | ~right
        with torch.no_grad():
            right = model(here).argmax(dim=1) == labels  # a path that ends still right ends at its last clean point
        before = torch.where(_wide(right & ~beyond), here, before)
    return Crossing(before.detach(), here.detach())


def _wide(mask: Tensor) -> Tensor:
    return mask.view(-1, 1, 1, 1)
