"""w_c <= u_c / (1 - tau): the mean loss of the worst part 1 - tau of the reference, its conditional value at risk.

The worst classes get the largest weight that they may have until the weights sum to 1. Classes tied at the last loss
that still gets some share the rest in the proportion of the reference.
"""

import torch
from torch import Tensor


def cvar(gap: Tensor, tau: Tensor, u: Tensor) -> Tensor:
    """The worst distribution of w_c <= u_c / (1 - tau); arguments and result as in `balls`.

    tau of 1 or more, which only an element of a tensor can be, counts as just below 1: the worst classes alone.
    """
    part = (1 - tau).clamp_min(1e-300)  # how much of the reference is averaged over
    knots, order = gap.sort(dim=-1)
    used = u.gather(-1, order).cumsum(dim=-1)
    last = (used[..., :-1] < part).sum(dim=-1, keepdim=True)
    margin = knots.gather(-1, last)
    full, tied = torch.where(gap < margin, u, 0.0), torch.where(gap == margin, u, 0.0)
    left = (part - full.sum(dim=-1, keepdim=True)).clamp_min(0.0)
    return (full + tied * (left / tied.sum(dim=-1, keepdim=True))) / part
