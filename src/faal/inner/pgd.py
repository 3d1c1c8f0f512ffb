"""Projected gradient ascent: a loop over a start, a loss and a step.

Images are (B, channels, H, W) in [0, 1]; epsilon and step size are in the same units, a number for all samples or (B,).
The norms with their steps and projections are in `norms.py`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faal import losses
from faal.config.choices import LossName, NormName, StartName
from faal.inner.modes import attacked
from faal.inner.norms import NORMS, Budget, Norm

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, C), labels (B,)) -> (B,), what the attack maximises."""

# --- start -----------------------------------------------------------------------------------------------------------


def uniform_start(images: Tensor, epsilon: Budget, noise: Tensor, norm: Norm) -> Tensor:
    """A random point of the ball, within [0, 1]. `noise` is uniform in [0, 1), of the images' shape."""
    return norm.start(images, epsilon, noise)


def gaussian_start(images: Tensor, epsilon: Budget, noise: Tensor, norm: Norm) -> Tensor:
    """x + 0.001 N(0, 1), not clipped: TRADES' start, whose purpose is to leave x, where the gradient of KL is 0."""
    return images + 1e-3 * noise


def zero_start(images: Tensor, epsilon: Budget, noise: Tensor, norm: Norm) -> Tensor:
    """x itself (Algorithm 1 as printed)."""
    return images.clone()


STARTS: dict[StartName, Callable[[Tensor, Budget, Tensor, Norm], Tensor]] = {
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
    """KL(p(x) || p(x + delta)): TRADES. The clean logits are computed only once, in full precision, without a
    gradient."""
    with torch.no_grad(), full_precision(images):
        clean_logits = model(images.clone())
    return lambda logits, labels: losses.kl_divergence(clean_logits, logits)


def full_precision(images: Tensor, enabled: bool = True) -> AbstractContextManager[object]:
    """The context without autocast.

    At a distance of 0.001 the logits of x and of x + delta are equal in bfloat16: the gradient of their divergence is 0
    there, and an attack on it would not leave its start.
    """
    return torch.autocast(images.device.type, enabled=False) if enabled else nullcontext()


LOSSES: dict[LossName, Callable[[nn.Module, Tensor], Loss]] = {"ce": ce_loss, "cw": cw_loss, "kl": kl_loss}

# --- step ------------------------------------------------------------------------------------------------------------


def pgd_step(
    model: nn.Module,
    loss_fn: Loss,
    x_adv: Tensor,
    images: Tensor,
    labels: Tensor,
    epsilon: Budget,
    step_size: Budget,
    norm: Norm,
) -> tuple[Tensor, Tensor]:
    """One step of projected gradient ascent from `x_adv`.

    The gradient is computed at the clipped image, not through the clip: in the graph the clip would set the gradient of
    every pixel at 0 or 1 to 0.

    Args:
        model: the network, in the mode in which it is attacked.
        loss_fn: the loss to maximise.
        x_adv: (B, channels, H, W), the current point.
        images: (B, channels, H, W), the centres of the balls.
        labels: (B,) int64.
        epsilon: radius of the ball, a number or (B,).
        step_size: length of the step, a number or (B,).
        norm: the norm of the ball.

    Returns:
        The next point, within epsilon of `images` and in [0, 1], and the logits (B, C) at the current one; detached.
    """
    x_adv = x_adv.detach().requires_grad_()
    logits = model(x_adv.clone())  # a network may write into what it is given
    (gradient,) = torch.autograd.grad(loss_fn(logits, labels).sum(), x_adv)
    with torch.no_grad():
        stepped = norm.step(x_adv, gradient, step_size)
        return norm.project(stepped, images, epsilon), logits.detach()


# --- loop ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """The settings of projected gradient ascent, without epsilon and step size, which may differ between samples."""

    steps: int
    """Number of gradient steps."""
    loss: LossName = "ce"
    """The loss to maximise: `ce`, `kl` or `cw`."""
    start: StartName = "uniform"
    """The start: `uniform` (a random point of the ball), `gaussian` (x + 0.001 N(0, 1)) or `zero` (x)."""
    norm: NormName = "linf"
    """The norm of the ball: `linf` or `l2`."""
    training: bool = False
    """Attack in training mode (see `modes.attacked`)."""


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: AttackSettings,
    *,
    epsilon: Budget,
    step_size: Budget,
    noise: Tensor | None = None,
    keep_success: bool = False,
) -> Tensor:
    """Adversarial examples by projected gradient ascent (phase 1; Algorithm 1, lines 3 to 8; Madry et al., ICLR 2018).

    Args:
        model: the network; in evaluation mode with frozen weights while it is attacked, and restored exactly.
        images: (B, channels, H, W) in [0, 1].
        labels: (B,) int64.
        attack: loss, start, steps and norm.
        epsilon: radius of the ball, a number or (B,), in units of [0, 1].
        step_size: length of one step, a number or (B,), in the same units.
        noise: of the images' shape, for the start: uniform in [0, 1) or standard normal. Not needed for a zero start.
        keep_success: a misclassified sample is no longer changed, so that the success of any iterate is
            kept (evaluation).

    Returns:
        (B, channels, H, W) in [0, 1], within epsilon of `images`, detached. With 0 steps it is the start, which is
        not clipped for `gaussian`.

    Raises:
        ValueError: `noise` is missing, but the start needs it.
    """
    images, norm = images.detach(), NORMS[attack.norm]
    if noise is None:
        if attack.start != "zero":
            raise ValueError(f"a {attack.start} start needs noise of the images' shape")
        noise = images
    with attacked(model, training=attack.training), torch.enable_grad():
        loss_fn = LOSSES[attack.loss](model, images)
        x_adv = STARTS[attack.start](images, epsilon, noise, norm)
        for step in range(attack.steps):
            with full_precision(images, enabled=step == 0 and attack.loss == "kl"):
                stepped, logits = pgd_step(model, loss_fn, x_adv, images, labels, epsilon, step_size, norm)
            if keep_success:
                misclassified = (logits.argmax(dim=1) != labels).view(-1, 1, 1, 1)
                stepped = torch.where(misclassified, x_adv, stepped)
            x_adv = stepped
    return x_adv.detach()
