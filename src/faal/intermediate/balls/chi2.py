"""Half of sum_c u_c (w_c / u_c - 1)^2 <= tau, the chi-squared ball: the classes of lowest loss may have weight 0.

At the optimum w_c = u_c (theta - gap_c)_+ / M1 for one scalar theta > 0, and the constraint is

    M2 = (1 + 2 tau) M1^2,    M1 = sum_c u_c (theta - gap_c)_+,    M2 = sum_c u_c (theta - gap_c)_+^2

M2 / M1^2 decreases in theta, so that the sorted gaps at which it is still too large are those of the active classes.
From the last of them to theta = gap + d the sums are M1 + P d and M2 + 2 M1 d + P d^2, with P = sum u over the active
classes: a quadratic in d. If theta close to 0 satisfies the constraint, only the classes tied at the maximum are
active, in the proportions of the reference.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def chi2(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution within the chi-squared ball; arguments and result as in `balls`."""
    knots, order = gap.sort(dim=-1)
    # M1 and M2 at theta = every gap: dM1 / dtheta = P and dM2 / dtheta = 2 M1. The terms are positive, without
    # cancellation.
    width = knots.diff(dim=-1)
    increase = u.gather(-1, order).cumsum(dim=-1)[..., :-1] * width
    first = pad(increase.cumsum(dim=-1), (1, 0))
    second = pad((width * (2 * first[..., :-1] + increase)).cumsum(dim=-1), (1, 0))
    too_large = ~(second < (1 + 2 * tau) * first.square())  # true at the lowest, where both are 0
    last = too_large.sum(dim=-1, keepdim=True) - 1

    last_gap, m1, m2 = (values.gather(-1, last) for values in (knots, first, second))
    active = torch.where(gap <= last_gap, u, 0.0)
    total = active.sum(dim=-1, keepdim=True)
    denominator = 2 * tau * total - torch.where(gap <= last_gap, 0.0, u).sum(dim=-1, keepdim=True)  # (1 + 2 tau) P - 1
    # The quadratic P d^2 + 2 M1 d = excess, solved without cancellation.
    excess = (m2 - (1 + 2 * tau) * m1.square()).clamp_min(0.0) / denominator.clamp_min(1e-300)
    d = excess / (m1 + (m1.square() + total * excess).sqrt())
    weights = torch.where(last_gap > 0, active * ((last_gap - gap).clamp_min(0.0) + d), active)
    return weights / weights.sum(dim=-1, keepdim=True)
