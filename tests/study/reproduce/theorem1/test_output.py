"""The simulation of theorem 1: against an independent slow one, in its limits, and its files."""

import csv
import math
import re
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, ks_2samp

from faal.errors import InputError
from faal.study.reproduce.theorem1 import shifts
from faal.study.reproduce.theorem1.output import theorem1
from faal.study.reproduce.theorem1.shifts import BEYOND, EDGE, INSIDE, NONE, simulate


def divergence(q: np.ndarray) -> np.ndarray:
    """KL(U || q)."""
    return -np.log(q.shape[-1] * q).mean(axis=-1)


def worst(losses: np.ndarray, tau: float) -> tuple[float, np.ndarray]:
    """The value of Eq. 7 and its distribution by the dual, min over eta of eta - exp(-tau) GM(eta - l)."""

    def dual(s: float) -> float:
        eta = losses.max() + math.exp(s)
        return eta - math.exp(-tau) * math.exp(np.log(eta - losses).mean())

    found = minimize_scalar(dual, bounds=(-30, 8), method="bounded", options={"xatol": 1e-9})
    weights = 1 / (losses.max() + math.exp(found.x) - losses)
    return float(found.fun), weights / weights.sum()


def flat_in_ball(rng: np.random.Generator, tau: float, classes: int) -> np.ndarray:
    """By rejection from the flat Dirichlet distribution."""
    while True:
        q = rng.dirichlet(np.ones(classes))
        if divergence(q) <= tau:
            return q


def slow(tau: float, n: int, trials: int) -> dict[str, int]:
    """In how many trials the loss is bounded, one at a time, with a test set of 10,000 drawn images."""
    rng = np.random.default_rng(1234)
    held = dict.fromkeys(shifts.SHIFTS, 0)
    for _ in range(trials):
        mu = rng.beta(3, 3, 10)
        losses = 2 * mu - 1
        observed = np.array([(2 * rng.beta(2 * m, 2 * (1 - m), n) - 1).mean() for m in mu])
        bound, _ = worst(observed, tau)
        tests = {
            NONE: np.full(10, 0.1),
            INSIDE: flat_in_ball(rng, tau, 10),
            EDGE: worst(losses, tau)[1],
            BEYOND: worst(losses, 2 * tau)[1],
        }
        for shift, q in tests.items():
            sizes = np.round(10_000 * q).astype(int)
            margins = [2 * rng.beta(2 * m, 2 * (1 - m), size) - 1 for m, size in zip(mu, sizes, strict=True)]
            held[shift] += bool(bound > np.concatenate(margins).mean())
    return held


@pytest.mark.medium
def test_against_a_slow_simulation() -> None:
    tau, n, trials = 0.25, 5, 300
    fast = {cell.shift: cell for cell in simulate(seeds=(7,), trials=3000, taus=(tau,), counts=(n,))}
    for shift, held in slow(tau, n, trials).items():
        cell = fast[shift]
        share = (held + cell.held) / (trials + cell.trials)
        error = math.sqrt(share * (1 - share) * (1 / trials + 1 / cell.trials))
        assert abs(held / trials - cell.frequency) <= 4 * error + 1e-3, shift


@pytest.mark.medium
def test_many_images() -> None:
    """For n to infinity L_FAAL is the worst loss of the ball itself: above every other, and L in half of the cases."""
    trials = 300
    found = {cell.shift: cell for cell in simulate(seeds=(1,), trials=trials, taus=(0.25,), counts=(5000,))}
    assert found[NONE].frequency == 1
    assert found[INSIDE].frequency > 0.99
    assert abs(found[EDGE].frequency - 0.5) < NormalDist().inv_cdf(1 - 1e-5) * 0.5 / math.sqrt(trials)
    assert found[BEYOND].frequency < 0.01
    assert found[EDGE].low <= found[EDGE].frequency <= found[EDGE].high


def test_a_larger_ball_bounds_more_often_where_nothing_shifts() -> None:
    """Trial by trial, since all radii share the draws."""
    cells = [cell for cell in simulate(seeds=(1,), trials=500, taus=(0.01, 0.05, 0.25), counts=(1, 5)) if
             cell.shift == NONE]  # fmt: skip
    for n in (1, 5):
        held = [cell.held for cell in cells if cell.n == n]
        assert all(a < b for a, b in pairwise(held))


@pytest.mark.parametrize(("tau", "classes"), [(0.5, 10), (0.25, 6), (0.05, 3)])
def test_shifts_in_the_ball_are_uniform(tau: float, classes: int) -> None:
    q = shifts.inside(np.zeros((2000, classes)), tau, np.random.default_rng(0))
    assert q.shape == (2000, classes)
    np.testing.assert_allclose(q.sum(axis=-1), 1)
    assert (divergence(q) <= tau).all()
    rng = np.random.default_rng(1)
    direct = np.stack([flat_in_ball(rng, tau, classes) for _ in range(1000)])
    assert ks_2samp(divergence(q), divergence(direct)).pvalue > 1e-3
    assert ks_2samp(q.max(axis=-1), direct.max(axis=-1)).pvalue > 1e-3


def test_the_worst_shifts_lie_on_their_edges() -> None:
    losses = np.random.default_rng(0).uniform(-1, 1, (50, 10))
    rng = np.random.default_rng(0)
    for shift, radius in ((shifts.edge, 0.25), (shifts.beyond, 0.5)):
        q = shift(losses, 0.25, rng)
        np.testing.assert_allclose(divergence(q), radius, atol=1e-9)
        values = [worst(row, radius)[0] for row in losses]
        np.testing.assert_allclose((q * losses).sum(axis=-1), values, atol=1e-7)


@pytest.mark.medium
def test_the_files(tmp_path: Path) -> None:
    paths = theorem1(tmp_path, seeds=(1, 2), trials=40)
    assert [path.name for path in paths] == [f"theorem1.{ending}" for ending in ("md", "csv", "svg", "pdf", "png")]
    page, table, svg, pdf, png = paths
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 4 * 3 * 5
    printed = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\| ([\d.]+) \| ([^|]+) \| (.+) \|", line):
            printed[float(found[1]), found[2]] = found[3].split(" | ")
    for row in rows:
        assert int(row["trials"]) == 80
        exact = binomtest(int(row["held"]), 80).proportion_ci(method="exact")
        assert float(row["low"]) == pytest.approx(exact.low)
        assert float(row["high"]) == pytest.approx(exact.high)
        assert float(row["frequency"]) == int(row["held"]) / 80
        tau, n = float(row["tau"]), int(row["n"])
        assert float(row["leading_term"]) == pytest.approx(1 - math.exp(-tau * n))
        place = [1, 5, 13, 50, 500].index(n)
        cell = f"{100 * float(row['frequency']):.1f} ({100 * exact.low:.1f} to {100 * exact.high:.1f})"
        assert printed[tau, row["shift"]][place] == cell
        assert printed[tau, "*printed term*"][place] == f"{100 * (1 - math.exp(-tau * n)):.1f}"
    below = [r for r in rows if r["shift"] != BEYOND and float(r["high"]) < float(r["leading_term"])]
    assert f"Of the 45 cells whose shift is in the ball, {len(below)} (" in page.read_text(encoding="utf-8")
    assert svg.read_bytes().startswith(b"<?xml")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert min(path.stat().st_size for path in (svg, pdf, png)) > 5000
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in theorem1(tmp_path / "again", seeds=(1, 2), trials=40)] == before


def test_seeds_differ_and_add_up() -> None:
    size = {"trials": 200, "taus": (0.05,), "counts": (5,)}
    one, two, both = (
        [cell.held for cell in simulate(seeds=seeds, **size)]  # type: ignore[arg-type]
        for seeds in ((1,), (2,), (1, 2))
    )
    assert one != two
    assert [a + b for a, b in zip(one, two, strict=True)] == both


def test_no_seed_is_refused() -> None:
    with pytest.raises(InputError, match="at least one seed"):
        simulate(seeds=())
