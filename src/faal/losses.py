"""Losses per sample, as pure functions. All three phases use them, and the phases may not import each other.

Logits are (B, C), labels (B,) int64; every function returns (B,) float32 (float64 for float64 logits). Logits of a
lower precision are converted first: softmax and margins are too imprecise in bfloat16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def upcast(logits: Tensor) -> Tensor:
    """Logits in float32; float64 is left as it is."""
    return logits if logits.dtype == torch.float64 else logits.float()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y."""
    return F.cross_entropy(upcast(logits), labels, reduction="none")


def kl_divergence(clean_logits: Tensor, robust_logits: Tensor) -> Tensor:
    """KL(p(x) || p(x_adv)) in log space, the robust term of TRADES; the gradient flows through both."""
    clean = F.log_softmax(upcast(clean_logits), dim=1)
    robust = F.log_softmax(upcast(robust_logits), dim=1)
    return (clean.exp() * (clean - robust)).sum(dim=1)


def margin(scores: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} s_j - s_y: positive where the sample is misclassified. The CW loss when `scores` are logits."""
    scores = upcast(scores)
    own = scores.gather(1, labels[:, None]).squeeze(1)
    others = scores.scatter(1, labels[:, None], -torch.inf)
    return others.amax(dim=1) - own


def probability_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin of the softmax probabilities, in [-1, 1] (Eq. 10 of the FAAL paper)."""
    return margin(upcast(logits).softmax(dim=1), labels)
