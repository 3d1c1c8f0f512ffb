"""The balls beside the paper's: against duality, other solvers, closed forms, and what every solution must satisfy."""

import math
from collections.abc import Callable

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog, minimize
from tests.intermediate.balls import oracles as oracle
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from faal import solve_kldro

BALLS = ["kl-forward", "chi2", "cvar"]
SIZES = [2, 3, 4, 5, 7, 10, 14, 20, 30, 43, 60, 85, 100, 150, 210, 300, 420, 590, 830, 1000]
PER_SIZE = 50


def problems(ball: str, classes: int, count: int, seed: int, *, least: float = 1e-4) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (count, C) of any scale, tau (count,) to beyond the limit, references uniform, random and skewed."""
    rng = np.random.default_rng([seed, classes])
    losses = rng.normal(size=(count, classes)) * 10 ** rng.uniform(-3, 3, size=(count, 1))
    reference = np.full((count, classes), 1 / classes)
    reference[1::3] = rng.dirichlet(np.ones(classes), size=len(reference[1::3]))
    reference[2::3] = rng.dirichlet(np.full(classes, 0.2), size=len(reference[2::3])) + 1e-9
    reference /= reference.sum(axis=1, keepdims=True)
    largest = {"kl-forward": 1.5 * math.log(classes), "chi2": classes, "cvar": 0.999}[ball]
    tau = 10 ** rng.uniform(math.log10(least), math.log10(largest), size=count)
    return torch.from_numpy(losses), torch.from_numpy(tau), torch.from_numpy(reference)


@pytest.mark.medium
@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("classes", SIZES)
def test_a_thousand_problems_are_solved_exactly(ball: str, classes: int) -> None:
    """20 sizes of 50 problems per ball: feasible, on the surface where it matters, and of no duality gap."""
    losses, tau, u = problems(ball, classes, PER_SIZE, seed=1)
    w = solve_kldro(losses, tau, reference=u, ball=ball)
    assert w.dtype == torch.float64
    assert bool((w >= 0).all())
    assert float((w.sum(dim=-1) - 1).abs().max()) <= 1e-12
    radius = oracle.divergence(ball, w.numpy(), u.numpy())
    assert bool(np.all(radius <= tau.numpy() + 1e-12 * np.maximum(tau.numpy(), 1)))
    q = np.take_along_axis(u.numpy(), losses.numpy().argmax(axis=1)[:, None], axis=1)[:, 0]
    reach = np.minimum(tau.numpy(), oracle.limit_radius(ball, q))
    np.testing.assert_allclose(radius, reach, rtol=1e-10, atol=1e-12)
    for values, size, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        gap = (oracle.dual(ball, values, size, centre) - weights @ values) / np.ptp(values)
        assert -1e-12 <= gap <= 1e-10


@pytest.mark.parametrize("ball", BALLS)
def test_a_convex_solver_agrees(ball: str) -> None:
    """cvxpy on 30 problems: the mean loss agrees within 2e-6 of the losses' range, the cone solver's own accuracy."""
    constraint: dict[str, Callable[[cvxpy.Variable, oracle.Array, float], object]] = {
        "kl-forward": lambda w, u, tau: cvxpy.sum(cvxpy.rel_entr(w, u)) <= tau,
        "chi2": lambda w, u, tau: cvxpy.sum_squares(cvxpy.multiply(w - u, 1 / np.sqrt(u))) / 2 <= tau,
        "cvar": lambda w, u, tau: w <= u / (1 - tau),
    }
    for classes in (2, 10, 30):
        losses, tau, u = problems(ball, classes, 10, seed=3)
        u = (u + 1e-3) / (u + 1e-3).sum(dim=-1, keepdim=True)  # cone solvers need tame numbers
        losses = losses / (losses.amax(dim=-1, keepdim=True) - losses.amin(dim=-1, keepdim=True))
        w = solve_kldro(losses, tau, reference=u, ball=ball)
        for values, radius, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
            point = cvxpy.Variable(classes, nonneg=True)
            within = [cvxpy.sum(point) == 1, constraint[ball](point, centre, radius)]
            cvxpy.Problem(cvxpy.Maximize(values @ point), within).solve(solver=cvxpy.CLARABEL)
            assert abs(values @ point.value - values @ weights) <= 2e-6


@pytest.mark.parametrize("ball", ["kl-forward", "chi2"])
def test_a_general_solver_finds_nothing_better(ball: str) -> None:
    """SciPy's SLSQP, which knows nothing of the problem's form."""
    losses, tau, u = problems(ball, 6, 12, seed=4, least=0.05)
    u = (u + 0.02) / (u + 0.02).sum(dim=-1, keepdim=True)
    losses = losses / (losses.amax(dim=-1, keepdim=True) - losses.amin(dim=-1, keepdim=True))
    tau = tau.clamp(max=0.4)
    w = solve_kldro(losses, tau, reference=u, ball=ball)
    for values, radius, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        inside = {"type": "ineq", "fun": lambda x, c=centre, r=radius: r - oracle.divergence(ball, np.maximum(x, 0), c)}
        found = minimize(
            lambda x, v=values: -v @ x,
            centre,
            jac=lambda x, v=values: -v,
            bounds=[(0, 1)] * 6,
            constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}, inside],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert -found.fun == pytest.approx(values @ weights, abs=1e-6)


def test_cvar_is_a_linear_program() -> None:
    """SciPy's simplex gives the same weights, which are unique where no losses are equal."""
    losses, tau, u = problems("cvar", 40, 20, seed=5)
    w = solve_kldro(losses, tau, reference=u, ball="cvar")
    for values, part, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        caps = [(0, cap) for cap in centre / (1 - part)]
        found = linprog(-values / np.ptp(values), A_eq=np.ones((1, 40)), b_eq=[1.0], bounds=caps, method="highs-ds")
        np.testing.assert_allclose(weights, found.x, atol=1e-9)


def test_the_form_of_each_answer() -> None:
    """log(w / u) is affine in the losses for kl-forward, w / u where positive for chi2, and u / (1 - tau) for cvar."""
    rng = np.random.default_rng(6)
    losses, u = rng.normal(size=12), rng.dirichlet(np.ones(12))
    order = losses.argsort()
    solutions = {b: solve_kldro(torch.tensor(losses), 0.3, torch.tensor(u), ball=b).numpy() for b in BALLS}
    tilt = np.log(solutions["kl-forward"] / u)[order]
    np.testing.assert_allclose(np.diff(np.diff(tilt) / np.diff(losses[order])), 0, atol=1e-9)
    ratio = (solutions["chi2"] / u)[order]
    assert 0 < (ratio == 0).sum() < 10
    positive, where = ratio[ratio > 0], losses[order][ratio > 0]
    np.testing.assert_allclose(np.diff(np.diff(positive) / np.diff(where)), 0, atol=1e-9)
    assert positive[0] <= np.diff(positive)[0] / np.diff(where)[0] * (where[0] - losses[order][ratio == 0][-1])
    cap = (solutions["cvar"] * 0.7 / u)[order]
    np.testing.assert_allclose(cap[cap > 0][1:], 1, rtol=1e-12)


def test_two_classes_by_hand() -> None:
    losses = torch.tensor([0.2, 0.7], dtype=torch.float64)
    for tau in (1e-4, 0.05, 0.3, 0.45):
        w = float(solve_kldro(losses, tau, ball="chi2")[1])
        assert w == pytest.approx((1 + math.sqrt(2 * tau)) / 2, rel=1e-12)
        assert float(solve_kldro(losses, tau, ball="cvar")[1]) == pytest.approx(0.5 / (1 - tau), rel=1e-12)
        root = brentq(lambda p, t=tau: p * math.log(2 * p) + (1 - p) * math.log(2 - 2 * p) - t, 0.5, 1 - 1e-15)
        assert float(solve_kldro(losses, tau, ball="kl-forward")[1]) == pytest.approx(root, rel=1e-10)


@pytest.mark.parametrize("ball", BALLS)
def test_single_precision(ball: str) -> None:
    losses, tau, u = problems(ball, 10, PER_SIZE, seed=6)
    single = solve_kldro(losses.float(), tau, reference=u, ball=ball)
    assert single.dtype == torch.float32
    assert torch.equal(single, solve_kldro(losses.float().double(), tau, reference=u, ball=ball).float())


@pytest.mark.medium
@pytest.mark.parametrize("ball", BALLS)
def test_a_batch_is_its_problems_one_by_one(ball: str) -> None:
    losses, tau, u = problems(ball, 17, 12, seed=7)
    w = solve_kldro(losses.view(3, 4, 17), tau.view(3, 4), reference=u.view(3, 4, 17), ball=ball)
    assert w.shape == (3, 4, 17)
    for row, values, radius, centre in zip(w.view(12, 17), losses, tau, u, strict=True):
        alone = solve_kldro(values, float(radius), reference=centre, ball=ball)
        torch.testing.assert_close(row, alone, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("ball", BALLS)
def test_a_larger_ball_is_worse(ball: str) -> None:
    losses = torch.linspace(-1, 1, 10, dtype=torch.float64).expand(6, 10)
    w = solve_kldro(losses, torch.tensor([0.0, 0.05, 0.25, 0.5, 0.7, 0.89]), ball=ball)
    assert bool(((w * losses).sum(dim=-1).diff() > 0).all())


finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@pytest.mark.medium
@settings(max_examples=100, deadline=None, derandomize=True)
@given(ball=st.sampled_from(BALLS), values=st.lists(finite, min_size=2, max_size=12), data=st.data())
def test_properties(ball: str, values: list[float], data: st.DataObject) -> None:
    """The worse the class the more weight; order and scale of the losses do not matter; no duality gap."""
    tau = data.draw(st.floats(1e-4, 0.99))
    losses = torch.tensor(values, dtype=torch.float64)
    w = solve_kldro(losses, tau, ball=ball)
    uniform = np.full(len(values), 1 / len(values))
    assert float(w.sum()) == pytest.approx(1, abs=1e-12)
    assert oracle.divergence(ball, w.numpy(), uniform) <= tau + 1e-9
    assert bool((w[losses.argsort()].diff() >= -1e-15).all())
    shuffle = torch.tensor(data.draw(st.permutations(range(len(values)))))
    torch.testing.assert_close(solve_kldro(losses[shuffle], tau, ball=ball), w[shuffle], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(solve_kldro(losses * 64, tau, ball=ball), w, rtol=1e-9, atol=1e-12)
    if losses.max() > losses.min():
        gap = oracle.dual(ball, losses.numpy(), tau, uniform) - float(w @ losses)
        assert -1e-10 <= gap / np.ptp(losses.numpy()) <= 1e-9


@pytest.mark.medium
@pytest.mark.parametrize("ball", BALLS)
def test_no_value_is_looked_at_from_python(ball: str) -> None:
    """Fake tensors have no values: a host synchronisation (`.item()`, `bool()`, a branch) would raise."""
    with FakeTensorMode():
        losses = torch.empty(3, 10)
        w = solve_kldro(losses, torch.empty(3), reference=torch.empty(10), ball=ball)
        assert (w.shape, w.dtype) == ((3, 10), torch.float32)
        assert solve_kldro(losses.double(), 0.5, ball=ball).shape == (3, 10)


@pytest.mark.parametrize(
    ("ball", "tau", "said"),
    [
        ("kl-forward", -0.5, "at least 0"),
        ("chi2", math.nan, "at least 0"),
        ("cvar", -0.1, "at least 0"),
        ("cvar", 1, "below 1, not 1"),
        ("cvar", math.inf, "below 1, not inf"),
        ("kl_forward", 0.5, "no ball 'kl_forward'; did you mean 'kl-forward'"),
    ],
)
def test_what_makes_no_sense_is_refused(ball: str, tau: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solve_kldro(torch.zeros(3), tau, ball=ball)
