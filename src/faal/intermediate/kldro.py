"""The exact solver of phase 2: the worst distribution within a divergence ball (Eq. 7 of the FAAL paper).

    maximise  sum_c w_c l_c   subject to  w in the simplex,  KL(U || w) <= tau

At the optimum w_c is proportional to u_c / (eta - l_c) for one scalar eta > max l, and KL falls monotonically in eta.
Losses are first scaled to a = (l - max l) / (max l - min l) in [-1, 0], so that with eta - max l = exp(s) (in units of
the range) the one equation left is

    g(s) = sum_c u_c log(exp(s) - a_c) + log sum_c u_c / (exp(s) - a_c) = tau

g falls from its limit at -infinity to 0 at +infinity; a Newton iteration of fixed length, safeguarded by bisection,
finds s in float64.
No part of it looks at a value from Python: it runs on the device of the losses without a synchronisation.
"""

import torch
from torch import Tensor

NEWTON_STEPS = 20
"""About 7 suffice on ordinary problems; very skewed references and contrasts take bisections in between."""

SMALLEST_LOG = -690.0
"""Below this exp(s) leaves float64; the answer is then its limit, the reference on the classes tied at the maximum."""


def solve_kldro(losses: Tensor, tau: float | Tensor, reference: Tensor | None = None, ball: str = "kl") -> Tensor:
    """The class distribution that makes the mean loss largest within a ball around a reference (Eq. 7).

    Args:
        losses: (..., C) finite floats. A class with reference 0 gets weight 0, whatever its loss.
        tau: radius of the ball, at least 0; a number or a tensor that broadcasts over (...). A negative
            number is an error; a negative element of a tensor, whose value is not looked at, counts as 0.
        reference: (..., C) distribution u at the centre; uniform when None. Rows sum to 1.
        ball: `"kl"`, KL(u || w) <= tau: this direction, so that no class loses its weight altogether.

    Returns:
        (..., C) weights in the simplex, in the dtype of `losses`. With tau = 0, or where all losses are equal, exactly
        the reference.

    Raises:
        ValueError: an unknown ball, or shapes that do not fit.
    """
    if ball != "kl":
        raise ValueError(f"there is no ball {ball!r}; the solver knows 'kl'")
    if losses.dim() == 0 or not losses.is_floating_point():
        raise ValueError(f"losses are a float tensor of shape (..., C), not {tuple(losses.shape)} {losses.dtype}")
    if isinstance(tau, int | float) and not tau >= 0:
        raise ValueError(f"tau is the radius of a ball and at least 0, not {tau}")
    classes = losses.shape[-1]
    if reference is None:
        u = torch.full_like(losses, 1.0 / classes, dtype=torch.float64)
    else:
        if reference.shape[-1:] != losses.shape[-1:]:
            raise ValueError(f"the reference is of shape {tuple(reference.shape)}, the losses have {classes} classes")
        _require_broadcast("the reference", reference, losses.shape)
        u = reference.to(losses.device, torch.float64).expand_as(losses)
    # A number becomes a tensor by a fill on the device; `as_tensor` would copy it there and wait.
    if isinstance(tau, Tensor):
        _require_broadcast("tau", tau, losses.shape[:-1])
    radius = (
        tau.to(losses.device, torch.float64)
        if isinstance(tau, Tensor)
        else torch.full((), tau, dtype=torch.float64, device=losses.device)
    )
    weights = _solve_kl(losses.detach().double(), radius.expand(losses.shape[:-1])[..., None], u)
    return weights.to(losses.dtype)


def _require_broadcast(name: str, tensor: Tensor, shape: torch.Size) -> None:
    sizes = zip(reversed(tensor.shape), reversed(shape), strict=False)
    if tensor.dim() > len(shape) or any(own not in (1, wanted) for own, wanted in sizes):
        raise ValueError(f"{name} is of shape {tuple(tensor.shape)}, which does not broadcast to {tuple(shape)}")


def _solve_kl(losses: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    inside = u > 0
    top = losses.masked_fill(~inside, -torch.inf).amax(dim=-1, keepdim=True)
    bottom = losses.masked_fill(~inside, torch.inf).amin(dim=-1, keepdim=True)
    spread = top - bottom
    flat = (spread <= 0) | (tau <= 0)
    gap = torch.where(inside, (top - losses) / torch.where(flat, 1.0, spread), 1.0)  # -a, in [0, 1]
    tied = (u * (gap == 0)).sum(dim=-1, keepdim=True)

    def at(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """At s: the weights, by how much their divergence exceeds tau, and the slope of that."""
        distance = s.exp() + gap
        inverse = u / distance
        total = inverse.sum(dim=-1, keepdim=True)
        weights = inverse / total
        excess = (u * distance.log()).sum(dim=-1, keepdim=True) + total.log() - tau
        return weights, excess, ((weights - u) * gap / distance).sum(dim=-1, keepdim=True)

    # For s -> -inf, g(s) tends to -s (1 - tied) + sum_{a<0} u log(-a) + log(tied): it bounds the root below.
    rest = (u * torch.where(gap > 0, gap, 1.0).log()).sum(dim=-1, keepdim=True)
    low = (torch.log(tied) + rest - tau) / (1 - tied).clamp_min(1e-300) - 1.0
    low = low.clamp(SMALLEST_LOG, 0.0)
    # For all s, g(s) <= exp(-2 s) / 8 (Hoeffding's lemma): it bounds the root above.
    high = (-0.5 * torch.log(8 * tau.clamp_min(1e-300))).clamp_min(0.0) + 2.0

    # Between the two, where the ball is small, g is about Var_u(a) exp(-2 s) / 2: the first guess.
    mean = (u * gap).sum(dim=-1, keepdim=True)
    variance = (u * (gap - mean).square()).sum(dim=-1, keepdim=True)
    s = (0.5 * torch.log(variance / (2 * tau).clamp_min(1e-300))).clamp(low, high)
    for _ in range(NEWTON_STEPS):
        _, excess, slope = at(s)
        low, high = torch.where(excess > 0, s, low), torch.where(excess > 0, high, s)
        step = s - excess / slope
        s = torch.where((step >= low) & (step <= high), step, (low + high) / 2)

    _, excess, _ = at(torch.full_like(s, SMALLEST_LOG))
    limit = u * (gap == 0) / tied
    weights = torch.where(excess <= 0, limit, at(s)[0])
    return torch.where(flat, u, weights)
