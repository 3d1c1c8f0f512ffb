"""w_c <= u_c / (1 - tau): the mean loss of the worst fraction 1 - tau of the reference, its conditional value at risk.

The worst classes have the largest permitted weight until the weights sum to 1. Classes tied at the last loss with a
positive weight divide the rest in the proportion of the reference.
"""

import torch
from torch import Tensor


def cvar(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution of w_c <= u_c / (1 - tau); arguments and result as in `balls`.

    tau of 1 or more, possible only for elements of a tensor, means just below 1: only the worst classes.
    """
    fraction = (1 - tau).clamp_min(1e-300)  # the fraction of the reference that is averaged
    knots, order = gap.sort(dim=-1)
    cumulative = u.gather(-1, order).cumsum(dim=-1)
    last = (cumulative[..., :-1] < fraction).sum(dim=-1, keepdim=True)
    margin = knots.gather(-1, last)
    full, tied = torch.where(gap < margin, u, 0.0), torch.where(gap == margin, u, 0.0)
    remaining = (fraction - full.sum(dim=-1, keepdim=True)).clamp_min(0.0)
    return (full + tied * (remaining / tied.sum(dim=-1, keepdim=True))) / fraction
