"""KL(w || u) <= tau: the worst distribution is an exponential tilt of the reference, a softmax of the losses.

At the optimum w_c is proportional to u_c exp(-t gap_c) for one scalar t >= 0, and the divergence

    h(t) = -t sum_c w_c gap_c - log Z,    Z = sum_c u_c exp(-t gap_c)

increases in t from 0 to its limit -log q, where q is the reference's weight of the classes tied at the maximum. If tau
is at least this limit, the result is the limit. Else h(t) = tau has one root, computed for s = log t.
"""

import torch
from torch import Tensor

from faal.intermediate.balls.newton import newton

NEWTON_STEPS = 24
"""About 10 are enough on typical problems; losses and references over 30 orders of magnitude need up to 20."""

MAX_LOG = 690.0
"""Above this exp(s) overflows float64, which cannot resolve the weights of classes close to the maximum."""


def kl_forward(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution within KL(w || u) <= tau; arguments and result as in `balls`."""
    tiny = 1e-300
    best = gap == 0
    tied = (u * best).sum(dim=-1, keepdim=True)
    excess = -tied.log() - tau  # the limit minus tau
    near_limit = excess < tau

    def at(s: Tensor) -> tuple[Tensor, Tensor]:
        """At s: t gap, and log(w / u)."""
        x = s.exp() * gap
        one_minus_z = -(u * torch.expm1(-x)).sum(dim=-1, keepdim=True)  # 1 - Z, exact while t is small
        z = (u * (-x).exp()).sum(dim=-1, keepdim=True)
        return x, -x - torch.where(one_minus_z < 0.5, torch.log1p(-one_minus_z), z.log())

    def newton_step(s: Tensor) -> Tensor:
        """h is like t^2 at one end, -log q - h like exp(-t) at the other: Newton on the logarithm of the smaller."""
        x, tilt = at(s)
        weights = u * tilt.exp()
        mean = (weights * x).sum(dim=-1, keepdim=True)
        slope = (weights * (x - mean).square()).sum(dim=-1, keepdim=True)  # dh / ds
        # Sums of non-negative terms, so that both are accurate where they are small.
        divergence = (weights * tilt - u * torch.expm1(tilt)).sum(dim=-1, keepdim=True)
        distance_to_limit = mean + torch.log1p(
            (u * torch.where(best, 0.0, (-x).exp())).sum(dim=-1, keepdim=True) / tied
        )
        step_below = -(divergence / tau).log() * divergence / slope
        step_near_limit = ((distance_to_limit / excess).log() * distance_to_limit / slope).log1p()
        # Far from the root the result may be dominated by rounding: bisect. Also where a step has overflowed.
        is_reliable = torch.where(
            near_limit, step_near_limit.isfinite(), step_below.isfinite() & (divergence > 1e-6 * tau)
        )
        above = torch.where(near_limit, distance_to_limit > excess, divergence < tau)
        return torch.where(
            is_reliable, torch.where(near_limit, step_near_limit, step_below), torch.where(above, torch.inf, -torch.inf)
        )

    # h(t) <= t^2 / 8 (Hoeffding's lemma) bounds the root from below.
    low = 0.5 * torch.log((8 * tau).clamp_min(tiny))
    # At x = t times the smallest positive gap, -log q - h(t) <= (1 / q - 1) (1 + x) exp(-x), and (1 + x) exp(-x / 2) is
    # at most 1.22: it bounds the root from above.
    smallest_gap = torch.where(best | (u <= 0), torch.inf, gap).amin(dim=-1, keepdim=True)
    upper_bound = torch.log(1.22 * (1 / tied - 1) / excess.clamp_min(tiny)).clamp_min(1.0)
    high = torch.log(2 * upper_bound / smallest_gap).clamp(low, torch.full_like(low, MAX_LOG))
    mean = (u * gap).sum(dim=-1, keepdim=True)
    variance = (u * (gap - mean).square()).sum(dim=-1, keepdim=True)
    # For a small ball, h is about Var_u(gap) t^2 / 2: the initial value.
    start = (0.5 * torch.log(2 * tau / variance.clamp_min(tiny))).clamp(low, high)
    s = newton(newton_step, start, low, high, steps=NEWTON_STEPS)
    weights = torch.where(excess <= 0, u * best, u * (-s.exp() * gap).exp())
    return weights / weights.sum(dim=-1, keepdim=True)
