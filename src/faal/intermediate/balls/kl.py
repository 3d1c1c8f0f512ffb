"""KL(u || w) <= tau, the ball of the FAAL paper: in this direction no class loses its weight altogether.

At the optimum w_c is proportional to u_c / (eta - l_c) for one scalar eta > max l, and KL falls monotonically in eta.
In the units of `gap`, with a = -gap and eta - max l = exp(s), the one equation left is

    g(s) = sum_c u_c log(exp(s) - a_c) + log sum_c u_c / (exp(s) - a_c) = tau

and g falls from its limit at -infinity to 0 at +infinity.
"""

import torch
from torch import Tensor

from faal.intermediate.balls.newton import newton

NEWTON_STEPS = 20
"""About 7 suffice on ordinary problems; very skewed references and contrasts take bisections in between."""

SMALLEST_LOG = -690.0
"""Below this exp(s) leaves float64; the answer is then its limit, the reference on the classes tied at the maximum."""


def kl(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution within KL(u || w) <= tau; `balls` says what goes in and comes out."""
    tied = (u * (gap == 0)).sum(dim=-1, keepdim=True)

    def at(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """At s: the weights, by how much their divergence exceeds tau, and the slope of that."""
        distance = s.exp() + gap
        inverse = u / distance
        total = inverse.sum(dim=-1, keepdim=True)
        weights = inverse / total
        excess = (u * distance.log()).sum(dim=-1, keepdim=True) + total.log() - tau
        return weights, excess, ((weights - u) * gap / distance).sum(dim=-1, keepdim=True)

    def probe(s: Tensor) -> tuple[Tensor, Tensor]:
        _, excess, slope = at(s)
        return excess > 0, s - excess / slope

    # For s -> -inf, g(s) tends to -s (1 - tied) + sum_{a<0} u log(-a) + log(tied): it bounds the root below.
    rest = (u * torch.where(gap > 0, gap, 1.0).log()).sum(dim=-1, keepdim=True)
    low = (torch.log(tied) + rest - tau) / (1 - tied).clamp_min(1e-300) - 1.0
    low = low.clamp(SMALLEST_LOG, 0.0)
    # For all s, g(s) <= exp(-2 s) / 8 (Hoeffding's lemma): it bounds the root above.
    high = (-0.5 * torch.log(8 * tau.clamp_min(1e-300))).clamp_min(0.0) + 2.0

    # Between the two, where the ball is small, g is about Var_u(a) exp(-2 s) / 2: the first guess.
    mean = (u * gap).sum(dim=-1, keepdim=True)
    variance = (u * (gap - mean).square()).sum(dim=-1, keepdim=True)
    guess = (0.5 * torch.log(variance / (2 * tau).clamp_min(1e-300))).clamp(low, high)
    s = newton(probe, guess, low, high, steps=NEWTON_STEPS)

    _, excess, _ = at(torch.full_like(s, SMALLEST_LOG))
    limit = u * (gap == 0) / tied
    return torch.where(excess <= 0, limit, at(s)[0])
