"""The balls beside the paper's: against duality, other solvers, closed forms, and what every answer must satisfy."""

import math
from collections.abc import Callable

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq, linprog, minimize, minimize_scalar
from scipy.special import logsumexp, rel_entr
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from faal import solve_kldro

Array = NDArray[np.float64]
BALLS = ["kl-forward", "chi2", "cvar"]
SIZES = [2, 3, 4, 5, 7, 10, 14, 20, 30, 43, 60, 85, 100, 150, 210, 300, 420, 590, 830, 1000]
PER_SIZE = 50


def divergence(ball: str, w: Array, u: Array) -> Array:
    """What tau bounds, over the last dimension; w = 0 wherever u = 0."""
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
    """The least upper bound on the mean loss within the ball, by one scalar and without a look at the weights.

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
    else:
        least = minimize_scalar(bound, bounds=(-60, 12), method="bounded", options={"xatol": 1e-12}).fun
    return float(top + spread * least)


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


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("classes", SIZES)
def test_a_thousand_problems_are_solved_exactly(ball: str, classes: int) -> None:
    """20 sizes of 50 problems per ball: feasible, on the surface where it matters, and of no duality gap."""
    losses, tau, u = problems(ball, classes, PER_SIZE, seed=1)
    w = solve_kldro(losses, tau, reference=u, ball=ball)
    assert w.dtype == torch.float64
    assert bool((w >= 0).all())
    assert float((w.sum(dim=-1) - 1).abs().max()) <= 1e-12
    radius = divergence(ball, w.numpy(), u.numpy())
    assert bool(np.all(radius <= tau.numpy() + 1e-12 * np.maximum(tau.numpy(), 1)))
    q = np.take_along_axis(u.numpy(), losses.numpy().argmax(axis=1)[:, None], axis=1)[:, 0]
    reach = np.minimum(tau.numpy(), limit_radius(ball, q))
    np.testing.assert_allclose(radius, reach, rtol=1e-10, atol=1e-12)
    for values, size, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        gap = (dual(ball, values, size, centre) - weights @ values) / np.ptp(values)
        assert -1e-12 <= gap <= 1e-10


@pytest.mark.parametrize("ball", BALLS)
def test_a_convex_solver_agrees(ball: str) -> None:
    """cvxpy on 30 problems: the mean loss agrees within 2e-6 of the losses' range, the cone solver's own accuracy."""
    constraint: dict[str, Callable[[cvxpy.Variable, Array, float], object]] = {
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
        inside = {"type": "ineq", "fun": lambda x, c=centre, r=radius: r - divergence(ball, np.maximum(x, 0), c)}
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
    answers = {b: solve_kldro(torch.tensor(losses), 0.3, torch.tensor(u), ball=b).numpy() for b in BALLS}
    tilt = np.log(answers["kl-forward"] / u)[order]
    np.testing.assert_allclose(np.diff(np.diff(tilt) / np.diff(losses[order])), 0, atol=1e-9)
    ratio = (answers["chi2"] / u)[order]
    assert 0 < (ratio == 0).sum() < 10
    positive, where = ratio[ratio > 0], losses[order][ratio > 0]
    np.testing.assert_allclose(np.diff(np.diff(positive) / np.diff(where)), 0, atol=1e-9)
    assert positive[0] <= np.diff(positive)[0] / np.diff(where)[0] * (where[0] - losses[order][ratio == 0][-1])
    cap = (answers["cvar"] * 0.7 / u)[order]
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
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [1, 2, 10, 100])
def test_a_ball_of_radius_zero_holds_the_reference_alone(ball: str, classes: int, dtype: torch.dtype) -> None:
    """Bit for bit, in the dtype of the losses; and so where all losses are equal, whatever the radius."""
    generator = torch.Generator().manual_seed(classes)
    losses = torch.randn(4, classes, generator=generator).to(dtype)
    uniform = torch.full((4, classes), 1 / classes, dtype=torch.float64).to(dtype)
    assert torch.equal(solve_kldro(losses, 0.0, ball=ball), uniform)
    assert torch.equal(solve_kldro(torch.full_like(losses, -0.3), 0.5, ball=ball), uniform)
    u = torch.rand(4, classes, generator=generator).softmax(dim=-1).to(dtype)
    assert torch.equal(solve_kldro(losses, 0, reference=u, ball=ball), u)
    assert torch.equal(solve_kldro(losses, torch.tensor(-2.0), reference=u, ball=ball), u)
    assert torch.equal(solve_kldro(torch.full_like(losses, 7.0), 0.9, reference=u, ball=ball), u)


@pytest.mark.parametrize("ball", BALLS)
def test_rows_that_stay_and_rows_that_move_share_a_batch(ball: str) -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [1.0, 2.0, 3.0]])
    w = solve_kldro(losses, torch.tensor([0.0, 0.4, 0.4]), ball=ball)
    third = torch.full((3,), 1 / 3)
    assert torch.equal(w[0], third)
    assert torch.equal(w[1], third)
    assert torch.equal(w[2], solve_kldro(losses[2], 0.4, ball=ball))


@pytest.mark.parametrize("ball", BALLS)
def test_tied_classes_share_in_the_proportion_of_the_reference(ball: str) -> None:
    losses = torch.tensor([0.4, -0.2, 0.4, 0.1, -0.2, 0.1], dtype=torch.float64)
    u = torch.tensor([0.1, 0.2, 0.15, 0.3, 0.1, 0.15], dtype=torch.float64)
    for tau in (0.02, 0.2, 0.4, 0.7, 0.74):
        w = solve_kldro(losses, tau, ball=ball)
        assert torch.equal(w[:2], w[[2, 4]])
        assert w[3] == w[5]
        assert w[0] > w[3] or ball == "cvar"
        w = solve_kldro(losses, tau, reference=u, ball=ball)
        for pair in ([0, 2], [1, 4], [3, 5]):
            torch.testing.assert_close(w[pair] * u[pair].flip(0), (w[pair] * u[pair].flip(0)).flip(0))


@pytest.mark.parametrize("ball", ["kl-forward", "chi2"])
@pytest.mark.parametrize("tau", [5.0, 600.0, 1e4, 1e300, math.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_huge_ball_leaves_the_worst_classes_alone(ball: str, tau: float, dtype: torch.dtype) -> None:
    losses = torch.zeros(4, 10, dtype=dtype)
    losses[0, 4] = 1.0
    losses[1, [2, 7]] = 0.3
    losses[2] = torch.linspace(-1, 1, 10)
    losses[3, :9] = 1e-3
    limit = torch.zeros(4, 10, dtype=dtype)
    limit[0, 4], limit[1, [2, 7]], limit[2, 9], limit[3, :9] = 1.0, 0.5, 1.0, 1 / 9
    torch.testing.assert_close(solve_kldro(losses, tau, ball=ball), limit, rtol=1e-7, atol=0)


@pytest.mark.parametrize("tau", [0.95, 1.0, 2.0, math.inf])
def test_cvar_of_a_part_below_the_worst_class_is_that_class(tau: float) -> None:
    losses = torch.tensor([[0.1, 0.4, 0.2, 0.4], [3.0, 2.0, 1.0, 0.0]])
    w = solve_kldro(losses, torch.tensor([tau]), ball="cvar")
    torch.testing.assert_close(w, torch.tensor([[0, 0.5, 0, 0.5], [1.0, 0, 0, 0]]))


@pytest.mark.parametrize("ball", BALLS)
def test_the_others_go_where_the_documentation_says(ball: str) -> None:
    """Up to the radius of the limit somebody else keeps some weight, from there on nobody does."""
    losses = torch.tensor([0.3, 0.9, 0.1, 0.9, 0.5], dtype=torch.float64)
    u = torch.tensor([0.2, 0.1, 0.3, 0.05, 0.35], dtype=torch.float64)
    worst = torch.tensor([0, 2 / 3, 0, 1 / 3, 0], dtype=torch.float64)
    radius = float(limit_radius(ball, np.float64(0.15)))
    torch.testing.assert_close(solve_kldro(losses, radius + 1e-12, u, ball=ball), worst, rtol=1e-9, atol=0)
    for short in (1e-3, 1e-6, 1e-9):
        w = solve_kldro(losses, radius - short, u, ball=ball)
        assert float(w[4]) > short / 100
        assert divergence(ball, w.numpy(), u.numpy()) == pytest.approx(radius - short, abs=1e-13)


@pytest.mark.parametrize("ball", BALLS)
def test_absent_classes_take_no_part(ball: str) -> None:
    """A reference of 0 is as if the class were not there, whatever its loss."""
    present = torch.tensor([True, False, True, True, False, True])
    losses = torch.tensor([0.1, 9.0, -0.4, 0.3, -9.0, 0.2], dtype=torch.float64)
    u = present.double() / present.sum()
    for tau in (0.01, 0.3, 0.6, 0.9):
        w = solve_kldro(losses, tau, reference=u, ball=ball)
        assert torch.equal(w[~present], torch.zeros(2, dtype=torch.float64))
        torch.testing.assert_close(w[present], solve_kldro(losses[present], tau, ball=ball), rtol=1e-13, atol=0)
    limit = solve_kldro(losses, torch.tensor(50.0), reference=u, ball=ball)
    assert torch.equal(limit, torch.eye(6, dtype=torch.float64)[3])
    one = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.equal(solve_kldro(losses, 0.5, reference=one, ball=ball), one)


@pytest.mark.parametrize("ball", ["kl-forward", "chi2"])
@pytest.mark.parametrize("tau", [1e-8, 1e-12, 1e-20, 1e-100, 5e-324])
def test_a_tiny_ball_is_a_tilt_by_the_standard_deviation(ball: str, tau: float) -> None:
    """To first order w = u (1 + sqrt(2 tau / Var_u(l)) (l - mean)) in either, which chi2 keeps up to its first zero."""
    losses, _, u = problems(ball, 10, 5, seed=5)
    w = solve_kldro(losses, tau, reference=u, ball=ball)
    mean = (u * losses).sum(dim=-1, keepdim=True)
    deviation = (u * (losses - mean).square()).sum(dim=-1, keepdim=True).sqrt()
    tilt = u * (losses - mean) / deviation
    torch.testing.assert_close(w - u, math.sqrt(2 * tau) * tilt, rtol=0, atol=1e-15 + 20 * tau)


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_of_any_contrast(ball: str, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max / 4
    losses = torch.tensor(
        [[largest, 0, -1], [1, 0, -largest], [largest, largest, -largest], [1e-30, 0, 0], [1e30, 1, 0]], dtype=dtype
    )
    w = solve_kldro(losses, 0.2, ball=ball)
    radius = divergence(ball, w.double().numpy(), np.full((5, 3), 1 / 3))
    np.testing.assert_allclose(radius, 0.2, rtol=1e-5)
    torch.testing.assert_close(w.sum(dim=-1), torch.ones(5, dtype=dtype), rtol=1e-6, atol=0)


@pytest.mark.parametrize("ball", BALLS)
def test_references_down_to_nothing(ball: str) -> None:
    """Skewed references and losses over twenty decades: in steps along the scalar, still of no duality gap."""
    rng = np.random.default_rng(11)
    for spread in (0.0, 1.0, 20.0):
        for concentration in (0.01, 0.1, 0.3):
            losses = np.exp(spread * rng.normal(size=(40, 12))) * rng.choice([-1, 1], size=(40, 1))
            if spread == 0:
                losses = rng.integers(0, 3, size=(40, 12)).astype(float)
            u = rng.dirichlet(np.full(12, concentration), size=40)
            u /= u.sum(axis=1, keepdims=True)
            tau = 10 ** rng.uniform(-6, 0 if ball == "cvar" else 1.5, size=40)
            tensors = map(torch.from_numpy, (losses, tau, u))
            w = solve_kldro(*tensors, ball=ball).numpy()
            assert np.abs(w.sum(axis=1) - 1).max() <= 1e-12
            np.testing.assert_array_less(divergence(ball, w, u), tau * (1 + 1e-9) + 1e-12)
            for values, radius, centre, weights in zip(losses, tau, u, w, strict=True):
                if np.ptp(values[centre > 0]) > 0:
                    gap = dual(ball, values, radius, centre) - weights @ values
                    assert -1e-10 <= gap / np.ptp(values[centre > 0]) <= 1e-9


def test_newton_does_not_swing_for_ever() -> None:
    """Gaps and weights over thirty decades, on which Newton's steps alone go to and fro between two points."""
    losses = torch.tensor([0.0, -5.0898e-29, -5.3779e-29, -8.1341e-15, -5.7546e-21], dtype=torch.float64)
    u = torch.tensor([3.5118e-07, 1.0037e-29, 2.9009e-29, 4.4803e-22, 1.0], dtype=torch.float64)
    w = solve_kldro(losses, 5.4919e-05, u / u.sum(), ball="kl-forward")
    assert divergence("kl-forward", w.numpy(), (u / u.sum()).numpy()) == pytest.approx(5.4919e-05, rel=1e-9)


@pytest.mark.parametrize("ball", BALLS)
def test_a_rounded_reference_gives_a_distribution(ball: str) -> None:
    """Float32 shares sum to 1 within 1e-7 only; the weights do exactly."""
    u = torch.rand(20, 100, generator=torch.Generator().manual_seed(3)).softmax(dim=-1)
    assert float((u.double().sum(dim=-1) - 1).abs().max()) > 1e-9
    losses = torch.randn(20, 100, generator=torch.Generator().manual_seed(4)).double()
    for tau in (1e-12, 1e-3, 0.5):
        w = solve_kldro(losses, tau, reference=u, ball=ball)
        assert float((w.sum(dim=-1) - 1).abs().max()) <= 1e-14


@pytest.mark.parametrize("ball", BALLS)
def test_single_precision(ball: str) -> None:
    losses, tau, u = problems(ball, 10, PER_SIZE, seed=6)
    single = solve_kldro(losses.float(), tau, reference=u, ball=ball)
    assert single.dtype == torch.float32
    assert torch.equal(single, solve_kldro(losses.float().double(), tau, reference=u, ball=ball).float())


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


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ball=st.sampled_from(BALLS), values=st.lists(finite, min_size=2, max_size=12), data=st.data())
def test_properties(ball: str, values: list[float], data: st.DataObject) -> None:
    """The worse the class the more weight; order and scale of the losses do not matter; no duality gap."""
    tau = data.draw(st.floats(1e-4, 0.99))
    losses = torch.tensor(values, dtype=torch.float64)
    w = solve_kldro(losses, tau, ball=ball)
    uniform = np.full(len(values), 1 / len(values))
    assert float(w.sum()) == pytest.approx(1, abs=1e-12)
    assert divergence(ball, w.numpy(), uniform) <= tau + 1e-9
    assert bool((w[losses.argsort()].diff() >= -1e-15).all())
    shuffle = torch.tensor(data.draw(st.permutations(range(len(values)))))
    torch.testing.assert_close(solve_kldro(losses[shuffle], tau, ball=ball), w[shuffle], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(solve_kldro(losses * 64, tau, ball=ball), w, rtol=1e-9, atol=1e-12)
    if losses.max() > losses.min():
        gap = dual(ball, losses.numpy(), tau, uniform) - float(w @ losses)
        assert -1e-10 <= gap / np.ptp(losses.numpy()) <= 1e-9


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
