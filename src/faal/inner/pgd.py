"""Projected gradient ascent: a loop over a start, a loss and a step.

Images are (B, channels, H, W) in [0, 1]; epsilon and step size are in the same units, a number for all samples or (B,).
The norms with their steps and projections are in `norms.py`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from faal import losses
from faal.inner.modes import attacked
from faal.inner.norms import NORMS, Budget, Norm

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, C), labels (B,)) -> (B,), what the attack maximises."""

# --- start -----------------------------------------------------------------------------------------------------------


def uniform_start(images: Tensor, epsilon: Budget, noise: Tensor, ball: Norm) -> Tensor:
    """A random point of the ball, within [0, 1]. `noise` is uniform in [0, 1), of the images' shape."""
    return ball.start(images, epsilon, noise)


def gaussian_start(images: Tensor, epsilon: Budget, noise: Tensor, ball: Norm) -> Tensor:
    """x + 0.001 N(0, 1), not clipped: TRADES' start, which only has to leave the flat spot of KL at x itself."""
    return images + 1e-3 * noise


def zero_start(images: Tensor, epsilon: Budget, noise: Tensor, ball: Norm) -> Tensor:
    """x itself (Algorithm 1 as printed)."""
    return images.clone()


STARTS: dict[str, Callable[[Tensor, Budget, Tensor, Norm], Tensor]] = {
    "uniform": uniform_start,
    "gaussian": gaussian_start,
    "zero": zero_start,
}

# --- loss ------------------------------------------------------------------------------------------------------------


def ce_loss(model: nn.Module, images: Tensor) -> Loss:
    """Cross-entropy."""
    return losses.cross_entropy


def cw_loss(model: nn.Module, images: Tensor) -> Loss:
    """The margin of the logits."""
    return losses.margin


def kl_loss(model: nn.Module, images: Tensor) -> Loss:
    """KL(p(x) || p(x + delta)): TRADES. The clean answer is computed once, in full precision, and stays fixed."""
    with torch.no_grad(), full_precision(images):
        clean = model(images)
    return lambda logits, labels: losses.kl_divergence(clean, logits)


def full_precision(images: Tensor, wanted: bool = True) -> AbstractContextManager[object]:
    """Without autocast, where that is on. At a distance of 0.001 the answers to x and to x + delta are the same number
    in bfloat16: the gradient of their divergence is 0 there, and an attack on it would never leave its start."""
    return torch.autocast(images.device.type, enabled=False) if wanted else nullcontext()


LOSSES: dict[str, Callable[[nn.Module, Tensor], Loss]] = {"ce": ce_loss, "cw": cw_loss, "kl": kl_loss}

# --- step ------------------------------------------------------------------------------------------------------------


def pgd_step(
    model: nn.Module,
    ascent: Loss,
    here: Tensor,
    images: Tensor,
    labels: Tensor,
    epsilon: Budget,
    step_size: Budget,
    ball: Norm,
) -> tuple[Tensor, Tensor]:
    """One step up from `here`: the next point within epsilon of `images`, and the logits (B, C) at this one.

    The gradient is taken at the clipped image, never through the clip: inside the graph the clip would silence every
    pixel at 0 and 1.
    """
    here = here.detach().requires_grad_()
    logits = model(here)
    (gradient,) = torch.autograd.grad(ascent(logits, labels).sum(), here)
    with torch.no_grad():
        moved = ball.step(here, gradient, step_size)
        return ball.project(moved, images, epsilon), logits.detach()


# --- loop ------------------------------------------------------------------------------------------------------------


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: Budget,
    step_size: Budget,
    steps: int,
    loss: str = "ce",
    start: str = "uniform",
    norm: str = "linf",
    noise: Tensor | None = None,
    keep_success: bool = False,
    training: bool = False,
) -> Tensor:
    """Adversarial examples by projected gradient ascent (phase 1; Algorithm 1, lines 3 to 8).

    Args:
        model: the network; held in evaluation mode with frozen weights while it is attacked, and restored exactly.
        images: (B, channels, H, W) in [0, 1].
        labels: (B,) int64.
        epsilon: radius of the ball, a number or (B,).
        step_size: length of one step, a number or (B,).
        steps: number of gradient steps.
        loss: what is maximised: `ce`, `kl` or `cw`.
        start: `uniform`, `gaussian` or `zero`.
        norm: of the ball, `linf` or `l2`.
        noise: of the images' shape, for the start: uniform in [0, 1) or standard normal. Not needed for a zero start.
        keep_success: a sample that is misclassified no longer moves, so that any iterate's success counts (evaluation).
        training: attack in training mode (see `attacked`).

    Returns:
        (B, channels, H, W) in [0, 1], within epsilon of `images`, detached. With `steps` = 0 it is the start itself,
        which for `gaussian` is not clipped.
    """
    images, ball = images.detach(), NORMS[norm]
    if noise is None:
        if start != "zero":
            raise ValueError(f"a {start} start needs noise of the images' shape")
        noise = images
    with attacked(model, training=training), torch.enable_grad():
        ascent = LOSSES[loss](model, images)
        adversarial = STARTS[start](images, epsilon, noise, ball)
        for step in range(steps):
            with full_precision(images, wanted=step == 0 and loss == "kl"):
                moved, logits = pgd_step(model, ascent, adversarial, images, labels, epsilon, step_size, ball)
            if keep_success:
                fooled = (logits.argmax(dim=1) != labels).view(-1, 1, 1, 1)
                moved = torch.where(fooled, adversarial, moved)
            adversarial = moved
    return adversarial.detach()
