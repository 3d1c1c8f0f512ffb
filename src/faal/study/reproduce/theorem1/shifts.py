"""How often the worst-distribution loss bounds the loss under a shift of the classes, by simulation.

The paper's theorem 1 prints

    Pr(L_FAAL > L) >= 1 - exp(-tau n) + O(n),    L_FAAL = max { sum_c w_c l_c : KL(U || w) <= tau }        (Eq. 7, 9)

for the loss L of a test distribution with an unknown class shift. As printed the bound is vacuous, since
O(n) is arbitrary. The result that it resembles is about a ball around the *empirical* distribution of n draws, and
holds because that ball contains the true distribution with high probability. FAAL's ball is centred on U for any
shift, and its class losses are the quantities estimated. So the frequency is measured here, and compared with the
term 1 - exp(-tau n).

In each trial every class has a new mean margin l_c in [-1, 1]; n images of each class are observed, and L_FAAL is
computed from the C means of their margins. The test set has 10,000 images with the shifted class proportions q, and L
is their mean margin: q . l plus a normal error with the variance of that mean. The trials of a seed are used for every
tau, n and shift.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faal.audit.statistics.intervals import Array, clopper_pearson
from faal.engine.seeds import derive_seed
from faal.errors import InputError
from faal.intermediate.kldro import solve_kldro

TAUS = (0.05, 0.25, 0.5)
COUNTS = (1, 5, 13, 50, 500)
"""Images of a class: 13 is a batch of 128 over ten classes."""

CLASSES = 10
TRIALS = 4000
"""Per seed."""

TEST_IMAGES = 10_000
CLASS_MEANS = (3.0, 3.0)
"""A class's mean margin is 2 mu - 1, with mu from this Beta distribution: mean 0, standard deviation 0.38."""

CONCENTRATION = 2.0
"""A margin is 2 x - 1, with x from Beta(2 mu, 2 (1 - mu)): uniform over [-1, 1] where the class's mean is 0."""

LEVEL = 0.95


def no_shift(losses: Array, tau: float, rng: np.random.Generator) -> Array:
    """The uniform distribution: no shift, the L that the theorem prints."""
    return np.full_like(losses, 1 / losses.shape[-1])


def inside(losses: Array, tau: float, rng: np.random.Generator) -> Array:
    """A distribution drawn uniformly, by volume, from the ball KL(U || q) <= tau.

    The density of Dirichlet(a, ..., a) against the flat one depends on q through KL(U || q) alone, as
    exp(-(a - 1) C KL): a proposal within the ball is therefore accepted with probability exp(-(a - 1) C (tau - KL)).
    With a near (C - 1) / (2 C tau) most proposals are close to the boundary, where most of the volume is.
    """
    count, classes = losses.shape
    a = max(1.0, (classes - 1) / (2 * classes * tau))
    found = np.empty((0, classes))
    while len(found) < count:
        q = rng.dirichlet(np.full(classes, a), 4 * count)
        excess = tau + np.log(classes * q).mean(axis=-1)  # tau - KL(U || q)
        accepted = (excess >= 0) & (rng.random(len(q)) < np.exp(-(a - 1) * classes * np.maximum(excess, 0)))
        found = np.concatenate([found, q[accepted]])
    return found[:count]


def edge(losses: Array, tau: float, rng: np.random.Generator) -> Array:
    """The worst distribution in the ball, which is on its boundary: q . l is then what L_FAAL estimates."""
    return worst_distribution(losses, tau)


def beyond(losses: Array, tau: float, rng: np.random.Generator) -> Array:
    """The worst distribution in a ball of twice the radius."""
    return worst_distribution(losses, 2 * tau)


NONE, INSIDE, EDGE, BEYOND = "no shift", "in the ball", "worst in the ball", "beyond the ball"

Shift = Callable[[Array, float, np.random.Generator], Array]
SHIFTS: dict[str, tuple[Shift, str]] = {
    NONE: (no_shift, "the test set has equal class proportions"),
    INSIDE: (inside, "its class proportions are drawn uniformly from the ball KL(U ‖ q) ≤ τ"),
    EDGE: (edge, "its class proportions are the worst of that ball, for the classes' true losses"),
    BEYOND: (beyond, "its class proportions are the worst of a ball of radius 2τ"),
}
"""Name -> (the test distribution (K, C) for the true class losses (K, C) and tau, a sentence)."""


@dataclass(frozen=True, kw_only=True)
class ShiftFrequency:
    """One measured frequency: in `held` of `trials` trials L_FAAL > L; with its exact binomial interval."""

    shift: str
    tau: float
    n: int
    trials: int
    held: int
    frequency: float
    low: float
    high: float
    leading_term: float
    """1 - exp(-tau n), with n the images of a class."""


def worst_distribution(losses: Array, tau: float) -> Array:
    """The distributions (..., C) of Eq. 7 for losses (..., C)."""
    weights: Array = solve_kldro(torch.from_numpy(losses), tau).numpy()
    return weights


def simulate(
    *,
    seeds: Sequence[int] = (1, 2, 3),
    trials: int = TRIALS,
    taus: Sequence[float] = TAUS,
    counts: Sequence[int] = COUNTS,
    classes: int = CLASSES,
) -> list[ShiftFrequency]:
    """The frequency of L_FAAL > L for every shift, tau and n, over the trials of all seeds.

    Args:
        seeds: one draw of `trials` trials each.
        trials: per seed, at least 1.
        taus: radii above 0.
        counts: images observed per class, each at least 1, increasing.
        classes: C, at least 2.

    Raises:
        InputError: there is no seed.
    """
    if not seeds:
        raise InputError("theorem1 needs at least one seed; give --seeds 1 or more")
    per_seed = [_count_bounds(derive_seed("theorem1", seed), trials, taus, counts, classes) for seed in seeds]
    held = np.sum(per_seed, axis=0)
    total = trials * len(seeds)
    low, high = clopper_pearson(held, np.full_like(held, total), LEVEL)
    return [
        ShiftFrequency(
            shift=shift,
            tau=tau,
            n=n,
            trials=total,
            held=int(held[i, j, k]),
            frequency=float(held[i, j, k] / total),
            low=float(low[i, j, k]),
            high=float(high[i, j, k]),
            leading_term=-math.expm1(-tau * n),
        )
        for i, shift in enumerate(SHIFTS)
        for j, tau in enumerate(taus)
        for k, n in enumerate(counts)
    ]


def _count_bounds(
    seed: int, trials: int, taus: Sequence[float], counts: Sequence[int], classes: int
) -> NDArray[np.int64]:
    """The number of trials in which L_FAAL > L: (shifts, taus, counts)."""
    rng = np.random.default_rng(seed)
    mu = rng.beta(*CLASS_MEANS, (trials, classes))
    losses = 2 * mu - 1
    variance = 4 * mu * (1 - mu) / (CONCENTRATION + 1)
    observed = _observed(mu, counts, rng)
    error = rng.standard_normal(trials)
    held = np.empty((len(SHIFTS), len(taus), len(counts)), dtype=np.int64)
    for j, tau in enumerate(taus):
        bound = (worst_distribution(observed, tau) * observed).sum(axis=-1)
        for i, (shift, _) in enumerate(SHIFTS.values()):
            q = shift(losses, tau, rng)
            loss = (q * losses).sum(axis=-1) + error * np.sqrt((q * variance).sum(axis=-1) / TEST_IMAGES)
            held[i, j] = (bound > loss).sum(axis=-1)
    return held


def _observed(mu: Array, counts: Sequence[int], rng: np.random.Generator) -> Array:
    """The means (counts, trials, C) over the first n of one stream of margins per class."""
    total, drawn, means = np.zeros_like(mu), 0, []
    for n in counts:
        x = rng.beta(CONCENTRATION * mu[..., None], CONCENTRATION * (1 - mu[..., None]), (*mu.shape, n - drawn))
        total, drawn = total + (2 * x - 1).sum(axis=-1), n
        means.append(total / n)
    return np.stack(means)
