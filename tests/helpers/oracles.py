"""Independent solutions of phase 2, from SciPy, in NumPy's float64. They share no formula with the solver."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

Array = NDArray[np.float64]


def divergence(u: Array, w: Array) -> float:
    """KL(u || w), classes with u = 0 left out."""
    inside = u > 0
    return float(np.sum(u[inside] * np.log(u[inside] / w[inside])))


def kldro(losses: Array, tau: float, u: Array | None = None) -> Array:
    """The worst distribution, by Brent's method on the multiplier eta of the constraint sum w = 1."""
    u = np.full(len(losses), 1 / len(losses)) if u is None else u
    top, spread = losses.max(), np.ptp(losses)

    def weights(eta: float) -> Array:
        inverse = u / (eta - losses)
        return inverse / inverse.sum()

    if tau == 0 or spread == 0:
        return u
    eta = brentq(
        lambda eta: divergence(u, weights(eta)) - tau, top + 1e-12 * spread, top + 1e6 * spread, xtol=1e-13, rtol=1e-15
    )
    return weights(eta)


def kldro_dual(losses: Array, tau: float, u: Array) -> float:
    """The least upper bound on the mean loss within the ball: min over eta > max l of eta - exp(-tau) GM_u(eta - l).

    GM_u is the geometric mean with weights u. Lagrangian duality gives it without the primal's optimum, so
    that a feasible w whose mean loss meets it is optimal, whoever found it.
    """
    top, spread = losses.max(), np.ptp(losses)

    def bound(s: float) -> float:
        """In units of the range, from the top: eta = top + spread exp(s)."""
        distance = np.exp(s) + (top - losses) / spread
        return float(np.exp(s) - np.exp(-tau + np.sum(u * np.log(distance))))

    found = minimize_scalar(bound, bounds=(-60, 12), method="bounded", options={"xatol": 1e-12})
    return float(top + spread * found.fun)
