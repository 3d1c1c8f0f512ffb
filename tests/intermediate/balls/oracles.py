"""Independent solutions for the balls other than the paper's, in NumPy and SciPy: divergence, limit and dual."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, rel_entr

Array = NDArray[np.float64]


def divergence(ball: str, w: Array, u: Array) -> Array:
    """The divergence that tau bounds, over the last dimension; w = 0 wherever u = 0."""
    ratio = np.divide(w, u, out=np.zeros_like(w), where=u > 0)
    if ball == "kl-forward":
        return rel_entr(w, u).sum(axis=-1)
    if ball == "chi2":
        return (u * (ratio - 1) ** 2).sum(axis=-1) / 2
    return 1 - 1 / ratio.max(axis=-1)


def limit_radius(ball: str, q: Array) -> Array:
    """The radius from which on the ball holds the reference restricted to its classes of largest loss, of weight q."""
    return {"kl-forward": -np.log(q), "chi2": (1 / q - 1) / 2, "cvar": 1 - q}[ball]


def dual(ball: str, losses: Array, tau: float, u: Array) -> float:
    """The least upper bound on the mean loss within the ball, by minimising over one scalar, without the weights.

    kl-forward: min over b > 0 of b tau + b log sum u exp(l / b). chi2: min over eta of eta + sqrt((1 + 2 tau) sum u
    (l - eta)_+^2). cvar: min over eta of eta + sum u (l - eta)_+ / (1 - tau), attained at one of the losses.
    """
    top, spread = losses[u > 0].max(), np.ptp(losses[u > 0])
    below = (top - losses[u > 0]) / spread
    u = u[u > 0] / u.sum()

    def bound(s: float) -> float:
        """In units of the range, from the top: b = exp(s), eta = -exp(s)."""
        scale = math.exp(s)
        if ball == "kl-forward":
            return scale * (tau + float(logsumexp(-below / scale, b=u)))
        return -scale + math.sqrt((1 + 2 * tau) * float(u @ np.maximum(scale - below, 0) ** 2))

    if ball == "cvar":
        least = min(-eta + float(u @ np.maximum(eta - below, 0)) / (1 - tau) for eta in below)
    else:  # nearly flat in places where the reference is very skewed: search around the best of a coarse grid
        start = min(range(-60, 13, 2), key=bound)
        least = minimize_scalar(bound, bounds=(start - 2, start + 2), method="bounded", options={"xatol": 1e-12}).fun
    return float(top + spread * least)
