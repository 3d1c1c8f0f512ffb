"""KL(u || w) <= tau, the ball of the FAAL paper: in this direction every class has a positive weight.

At the optimum w_c is proportional to u_c / (eta - l_c) for one scalar eta > max l, and KL decreases monotonically in
eta. In the units of `gap`, with a = -gap and eta - max l = exp(s), the remaining equation is

    g(s) = sum_c u_c log(exp(s) - a_c) + log sum_c u_c / (exp(s) - a_c) = tau

and g decreases from its limit at -infinity to 0 at +infinity.
"""

import torch
from torch import Tensor

from faal.intermediate.balls.newton import newton

NEWTON_STEPS = 20
"""About 4 are enough on typical problems; very unequal references or losses need additional bisections."""

MIN_LOG = -690.0
"""Below this exp(s) underflows float64; the result is then its limit, the reference on the classes tied at the
maximum."""


def kl(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution within KL(u || w) <= tau; arguments and result as in `balls`."""

    def newton_step(s: Tensor) -> Tensor:
        distance = s.exp() + gap
        inverse = u / distance
        total = inverse.sum(dim=-1, keepdim=True)
        excess = (u * distance.log()).sum(dim=-1, keepdim=True) + total.log() - tau
        # -dg/ds is the difference of the mean gap / distance under u and under w = inverse / total.
        weighted_gap = inverse * gap
        slope = weighted_gap.sum(dim=-1, keepdim=True) - (weighted_gap / distance).sum(dim=-1, keepdim=True) / total
        return excess / slope.clamp_min(1e-300)  # where the slope is rounded to 0: a bisection

    # g is above its asymptote at -infinity, -s (1 - tied) + sum_{a<0} u log(-a) + log(tied), which bounds the root
    # from below.
    best = gap == 0
    worst = u * best
    tied = worst.sum(dim=-1, keepdim=True)
    rest = (u * (gap + best).log()).sum(dim=-1, keepdim=True)
    low = ((tied.log() + rest - tau) / (1 - tied)).clamp_min(MIN_LOG)

    # g(s) <= Var_u(a) exp(-2 s) / 2, by log x <= x - 1 around the mean distance: it bounds the root from above. In a
    # small ball g is about this at exp(s) + mean: the initial value, with twice the mean, which is closer in typical
    # balls.
    mean = (u * gap).sum(dim=-1, keepdim=True)
    variance = (u * (gap - mean).square()).sum(dim=-1, keepdim=True)
    upper_bound = (variance / 2).sqrt() / tau.sqrt()
    high = upper_bound.log()
    start = (high - (2 * mean / upper_bound).log1p()).clamp(low, high)
    s = newton(newton_step, start, low - 1, high + 1, steps=NEWTON_STEPS)
    inverse = u / (s.exp() + gap)
    weights = inverse / inverse.sum(dim=-1, keepdim=True)
    return torch.where(low == MIN_LOG, worst / tied, weights)
