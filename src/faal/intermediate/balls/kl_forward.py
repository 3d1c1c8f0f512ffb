"""KL(w || u) <= tau: the worst distribution is an exponential tilt of the reference, a softmax of the losses.

At the optimum w_c is proportional to u_c exp(-t gap_c) for one scalar t >= 0, and the divergence

    h(t) = -t sum_c w_c gap_c - log Z,    Z = sum_c u_c exp(-t gap_c)

increases in t from 0 to its limit -log q, where q is the reference's weight of the classes tied at the maximum. A ball
that reaches so far holds the limit itself. Else h(t) = tau has one root, found in s = log t.
"""

import torch
from torch import Tensor

from faal.intermediate.balls.newton import newton

NEWTON_STEPS = 24
"""About 10 are enough on typical problems; losses and references over 30 orders of magnitude need up to 20."""

LARGEST_LOG = 690.0
"""Above this exp(s) leaves float64, which cannot resolve how the classes next to the maximum share with it."""


def kl_forward(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution within KL(w || u) <= tau; arguments and result as in `balls`."""
    tiny = 1e-300
    best = gap == 0
    tied = (u * best).sum(dim=-1, keepdim=True)
    short = -tied.log() - tau  # how much further the limit lies than the ball reaches
    near_limit = short < tau

    def at(s: Tensor) -> tuple[Tensor, Tensor]:
        """At s: t gap, and log(w / u)."""
        x = s.exp() * gap
        lost = -(u * torch.expm1(-x)).sum(dim=-1, keepdim=True)  # 1 - Z, exact while t is small
        z = (u * (-x).exp()).sum(dim=-1, keepdim=True)
        return x, -x - torch.where(lost < 0.5, torch.log1p(-lost), z.log())

    def probe(s: Tensor) -> Tensor:
        """h is like t^2 at one end, -log q - h like exp(-t) at the other: Newton on the logarithm of the smaller."""
        x, tilt = at(s)
        weights = u * tilt.exp()
        mean = (weights * x).sum(dim=-1, keepdim=True)
        slope = (weights * (x - mean).square()).sum(dim=-1, keepdim=True)  # dh / ds
        # Sums of terms that are not negative, so that either is exact where it is small.
        divergence = (weights * tilt - u * torch.expm1(tilt)).sum(dim=-1, keepdim=True)
        missing = mean + torch.log1p((u * torch.where(best, 0.0, (-x).exp())).sum(dim=-1, keepdim=True) / tied)
        up = -(divergence / tau).log() * divergence / slope
        down = ((missing / short).log() * missing / slope).log1p()
        # Further off rounding may be all that is left: bisect. Also where a step has overflowed.
        known = torch.where(near_limit, down.isfinite(), up.isfinite() & (divergence > 1e-6 * tau))
        above = torch.where(near_limit, missing > short, divergence < tau)
        return torch.where(known, torch.where(near_limit, down, up), torch.where(above, torch.inf, -torch.inf))

    # h(t) <= t^2 / 8 (Hoeffding's lemma) bounds the root below.
    low = 0.5 * torch.log((8 * tau).clamp_min(tiny))
    # At x = t times the smallest positive gap, -log q - h(t) <= (1 / q - 1) (1 + x) exp(-x), and (1 + x) exp(-x / 2) is
    # at most 1.22: it bounds the root above.
    least = torch.where(best | (u <= 0), torch.inf, gap).amin(dim=-1, keepdim=True)
    reach = torch.log(1.22 * (1 / tied - 1) / short.clamp_min(tiny)).clamp_min(1.0)
    high = torch.log(2 * reach / least).clamp(low, torch.full_like(low, LARGEST_LOG))
    mean = (u * gap).sum(dim=-1, keepdim=True)
    variance = (u * (gap - mean).square()).sum(dim=-1, keepdim=True)
    # Where the ball is small, h is about Var_u(gap) t^2 / 2: the initial value.
    start = (0.5 * torch.log(2 * tau / variance.clamp_min(tiny))).clamp(low, high)
    s = newton(probe, start, low, high, steps=NEWTON_STEPS)
    weights = torch.where(short <= 0, u * best, u * (-s.exp() * gap).exp())
    return weights / weights.sum(dim=-1, keepdim=True)
