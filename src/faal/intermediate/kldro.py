"""The exact solver of phase 2: the worst distribution within a ball around a reference (Eq. 7 of the FAAL paper).

    maximise  sum_c w_c l_c   subject to  w in the simplex,  D(w, u) <= tau

In each ball the solution depends on one scalar. `balls` has a module for each with the equation and its solution, in
float64, on the device of the losses and without synchronisation: on a GPU, and compiled, in a fixed number of
operations. Only on a CPU, where values can be read without cost, a search stops when it has converged.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from faal.arguments import real
from faal.errors import InputError, one_of
from faal.intermediate.balls.chi2 import chi2
from faal.intermediate.balls.cvar import cvar
from faal.intermediate.balls.kl import kl
from faal.intermediate.balls.kl_forward import kl_forward
from faal.intermediate.balls.newton import may_evaluate
from faal.tensors import dense, valued

BallName = Literal["kl", "kl-forward", "chi2", "cvar"]
"""The divergence that bounds a ball."""

BALLS: dict[BallName, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "kl-forward": kl_forward,
    "chi2": chi2,
    "cvar": cvar,
}

SUM_TOLERANCE = 0.01
"""The permitted rounding error of the sum of a reference's row."""

RADIUS = "the radius of a ball, a number of at least 0"


def check_ball(ball: BallName, *taus: float) -> None:
    """Check the name of a ball and its radii.

    Raises:
        InputError: an unknown ball, or a radius out of its range.
    """
    one_of("ball", ball, BALLS, see="help(faal.solve_kldro)")
    for tau in taus:
        if not real("tau", tau, RADIUS) >= 0:
            raise InputError(f"tau is {RADIUS}, not {tau}")
        if ball == "cvar" and tau >= 1:
            raise InputError(f"tau of the ball 'cvar' is the excluded fraction of the reference, below 1, not {tau}")


def solve_kldro(losses: Tensor, tau: float | Tensor, reference: Tensor | None = None, ball: BallName = "kl") -> Tensor:
    """The class distribution that maximises the mean loss within a ball around a reference.

    The problem is Eq. 7 of the FAAL paper (Zhang et al., CVPR 2024): maximise sum_c w_c l_c over w in the simplex with
    D(w, u) <= tau. It is solved exactly, for any number of problems in one call, without a gradient with respect to
    `losses`.

    Args:
        losses: (..., C) floats. The result of a row that is not finite is NaN if tau is not 0; other rows are
            unaffected. A class with reference 0 has weight 0 for any loss.
        tau: radius of the ball, at least 0; a number or a tensor that broadcasts over (...). A number out of range is
            an error; a tensor's values are not checked: a negative element means 0.
        reference: (..., C) distribution u at the centre; uniform if None. Rows sum to 1.
        ball: the divergence that tau bounds:

            - `"kl"`, KL(u || w), the paper's: every class has a positive weight, for any tau.
            - `"kl-forward"`, KL(w || u): an exponential tilt. From tau = -log(the reference's weight of the worst
              classes) on, log C for one of C equal ones, only these have a weight.
            - `"chi2"`, half of sum_c u_c (w_c / u_c - 1)^2: the classes of lowest loss may have weight 0. Only the
              worst have a weight from tau = (1 / their reference weight - 1) / 2 on.
            - `"cvar"`, 1 - u_c / w_c for all c, that is w_c <= u_c / (1 - tau): the mean over the worst fraction 1 -
              tau of the reference. tau is below 1; a larger element of a tensor means just below 1.

    Returns:
        (..., C) weights in the simplex, in the dtype of `losses`. With tau = 0, or if all losses are equal, exactly
        the reference. Classes of equal loss share their weight in the proportion of the reference.

    Raises:
        InputError: an unknown ball, a number tau out of range, shapes that do not fit, or another type; on a CPU also a
            reference that is not a distribution. On other devices, where this check would synchronise, the result is
            then undefined.

    Example:
        >>> import torch, faal
        >>> losses = torch.tensor([0.2, 0.5, 1.1])
        >>> weights = faal.solve_kldro(losses, tau=0.5)
        >>> weights
        tensor([0.0856, 0.1218, 0.7926])
        >>> bool((weights * losses).sum() > losses.mean())
        True
    """
    check_ball(ball, *(() if isinstance(tau, Tensor) else (tau,)))
    what = "a float tensor of shape (..., C), with C of at least 1"
    dense("losses", losses, what)
    if losses.dim() == 0 or losses.shape[-1] == 0 or not losses.is_floating_point():
        raise InputError(f"losses are {what}, not {tuple(losses.shape)} {losses.dtype}")
    if reference is not None:
        dense("the reference", reference, "a distribution over the classes, a tensor of shape (..., C)")
        if reference.shape[-1:] != losses.shape[-1:]:
            raise InputError(
                f"the reference is of shape {tuple(reference.shape)}, the losses have {losses.shape[-1]} classes"
            )
        _require_broadcast("the reference", reference, losses, losses.shape)
        if may_evaluate(reference):
            _require_distribution(reference)
    if isinstance(tau, Tensor):
        dense("tau", tau, RADIUS)
        _require_broadcast("tau", tau, losses, losses.shape[:-1])
    else:
        tau = real("tau", tau, RADIUS)
    return worst_distribution(losses, tau, reference, ball)


def worst_distribution(
    losses: Tensor, tau: float | Tensor, reference: Tensor | None = None, ball: BallName = "kl"
) -> Tensor:
    """`solve_kldro` without checks, for class rules, whose arguments are valid."""
    exact = losses.detach().double()
    inside = None
    if reference is None:
        u = torch.full_like(exact, 1.0 / losses.shape[-1])
    else:
        u = reference.detach().to(losses.device, torch.float64).expand_as(losses)
        inside = u > 0
    if isinstance(tau, Tensor):
        radius = tau.detach().to(losses.device, torch.float64)[..., None]
        # NaN stops the search for a row whose result is known.
        weights = _solve(BALLS[ball], exact, torch.where(radius > 0, radius, torch.nan), u, inside)
        weights = torch.where(radius <= 0, u, weights)
    elif tau > 0:
        # `full` fills on the device; `as_tensor` would copy and synchronise.
        radius = torch.full((1,), tau, dtype=torch.float64, device=losses.device)
        weights = _solve(BALLS[ball], exact, radius, u, inside)
    else:
        weights = u
    return weights.to(losses.dtype)


def _require_broadcast(name: str, tensor: Tensor, losses: Tensor, shape: torch.Size) -> None:
    sizes = zip(reversed(tensor.shape), reversed(shape), strict=False)
    if tensor.dim() > len(shape) or any(own not in (1, target) for own, target in sizes):
        raise InputError(f"{name} is of shape {tuple(tensor.shape)}, which does not broadcast to {tuple(shape)}")
    if not losses.is_meta:
        valued(name, tensor)


def _require_distribution(reference: Tensor) -> None:
    """Check that rows (..., C) are distributions, up to the rounding of half precision."""
    sums = reference.double().sum(dim=-1)
    if not bool((reference >= 0).all()):
        wrong = reference[~(reference >= 0)][0]
        raise InputError(f"the reference is a distribution, with no value below 0, not {float(wrong):g}")
    if not bool(((sums - 1).abs() <= SUM_TOLERANCE).all()):
        wrong = sums[~((sums - 1).abs() <= SUM_TOLERANCE)][0]
        raise InputError(f"rows of the reference sum to 1, not to {float(wrong):g}; divide each by its sum")


def _solve(
    ball: Callable[[Tensor, Tensor, Tensor], Tensor], losses: Tensor, tau: Tensor, u: Tensor, inside: Tensor | None
) -> Tensor:
    """The worst distribution. The arguments of a ball are the gaps below the largest loss in units of the losses'
    range, so that it does not depend on an offset or the unit of the losses.

    `inside`: (..., C) bool, the classes with a reference above 0; None for all.
    """
    centre = u
    if inside is None:
        gap = losses.amax(dim=-1, keepdim=True) - losses
    else:
        gap = losses.where(inside, -torch.inf).amax(dim=-1, keepdim=True) - losses
        gap = gap.where(inside, 0.0)
        centre = u / u.sum(dim=-1, keepdim=True)  # a rounded reference sums only nearly to 1
    spread = gap.amax(dim=-1, keepdim=True)
    weights = torch.where(spread <= 0, u, ball(gap / spread, tau, centre))
    return weights.where(spread.isfinite(), torch.nan)
