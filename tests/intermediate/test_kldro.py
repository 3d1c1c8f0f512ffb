"""The exact solver: against duality, three other solvers, its limits, and what every solution must satisfy."""

import math

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from tests.helpers import oracles
from tests.helpers.doctests import failures
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from faal import solve_kldro
from faal.intermediate.balls.kl import MIN_LOG

SIZES = [2, 3, 4, 5, 7, 10, 14, 20, 30, 43, 60, 85, 100, 150, 210, 300, 420, 590, 830, 1000]
PER_SIZE = 50


def problems(classes: int, count: int, seed: int, *, least: float = 1e-4) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (count, C) of any scale, tau (count,) from `least` to 5, references alternately uniform and random."""
    rng = np.random.default_rng([seed, classes])
    losses = rng.normal(size=(count, classes)) * 10 ** rng.uniform(-3, 3, size=(count, 1))
    tau = 10 ** rng.uniform(math.log10(least), math.log10(5), size=count)
    tau[0], tau[-1] = least, 5.0
    reference = np.full((count, classes), 1 / classes)
    reference[1::2] = rng.dirichlet(np.ones(classes), size=len(reference[1::2]))
    return torch.from_numpy(losses), torch.from_numpy(tau), torch.from_numpy(reference)


def kl(u: Tensor, w: Tensor) -> Tensor:
    """KL(u || w) over the last dimension, classes with u = 0 left out."""
    inside = u > 0
    return torch.where(inside, u * (torch.where(inside, u, 1.0) / torch.where(inside, w, 1.0)).log(), 0.0).sum(dim=-1)


@pytest.mark.parametrize("classes", SIZES)
def test_a_thousand_problems_are_solved_exactly(classes: int) -> None:
    """20 sizes of 50 problems: feasible, on the ball's surface, and of no duality gap."""
    losses, tau, u = problems(classes, PER_SIZE, seed=1)
    w = solve_kldro(losses, tau, reference=u)
    assert w.dtype == torch.float64
    assert bool((w > 0).all())
    assert float((w.sum(dim=-1) - 1).abs().max()) <= 1e-12
    assert float((kl(u, w) - tau).abs().max()) <= 1e-9
    for values, radius, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        gap = (oracles.kldro_dual(values, radius, centre) - weights @ values) / np.ptp(values)
        assert -1e-12 <= gap <= 1e-10


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_a_root_finder_gives_the_same_weights(classes: int) -> None:
    losses, tau, u = problems(classes, 10, seed=2)
    w = solve_kldro(losses, tau, reference=u)
    for values, radius, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        np.testing.assert_allclose(weights, oracles.kldro(values, radius, centre), rtol=2e-6, atol=1e-12)


def test_a_convex_solver_agrees() -> None:
    """cvxpy on 60 problems: the mean loss agrees within 2e-6 of the losses' range.

    It cannot be closer: the cone solver's own point breaks the constraint by up to 3e-5, where ours meets it.
    """
    excesses = []
    for classes in (2, 5, 10, 30):
        losses, tau, u = problems(classes, 15, seed=3)
        losses = losses / (losses.amax(dim=-1, keepdim=True) - losses.amin(dim=-1, keepdim=True))
        w = solve_kldro(losses, tau, reference=u)
        for values, radius, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
            point = cvxpy.Variable(classes, nonneg=True)
            ball = cvxpy.sum(cvxpy.kl_div(centre, point)) <= radius
            cvxpy.Problem(cvxpy.Maximize(values @ point), [cvxpy.sum(point) == 1, ball]).solve(solver=cvxpy.CLARABEL)
            assert abs(values @ point.value - values @ weights) <= 2e-6
            excesses.append(oracles.divergence(centre, point.value) - radius)
    assert len(excesses) == 60
    assert max(excesses) <= 3e-5


def test_a_general_solver_finds_nothing_better() -> None:
    """SciPy's SLSQP, which knows nothing of the problem's form."""
    losses, tau, u = problems(6, 12, seed=4, least=0.05)
    losses = losses / (losses.amax(dim=-1, keepdim=True) - losses.amin(dim=-1, keepdim=True))
    tau = tau.clamp(max=1.0)
    w = solve_kldro(losses, tau, reference=u)
    for values, radius, centre, weights in zip(losses.numpy(), tau.tolist(), u.numpy(), w.numpy(), strict=True):
        ball = {
            "type": "ineq",
            "fun": lambda x, c=centre, r=radius: r - np.sum(c * np.log(c / x)),
            "jac": lambda x, c=centre: c / x,
        }
        found = minimize(
            lambda x, v=values: -v @ x,
            centre,
            jac=lambda x, v=values: -v,
            bounds=[(1e-6, 1)] * 6,
            constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}, ball],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert -found.fun == pytest.approx(values @ weights, abs=1e-7)


@pytest.mark.parametrize(
    ("classes", "tau", "multiplier", "digits"),
    [(10, 0.05, 2.20, 2), (10, 0.25, 4.19, 2), (10, 0.5, 5.75, 2), (100, 0.05, 7.8, 1), (100, 0.5, 42, 0)],
)
def test_one_hopeless_class_gets_this_many_times_its_share(
    classes: int, tau: float, multiplier: float, digits: int
) -> None:
    """C w_c of one class infinitely worse than the others, which are alike."""
    losses = torch.zeros(classes, dtype=torch.float64)
    losses[3] = 1e30
    w = solve_kldro(losses, tau)
    assert round(float(w[3]) * classes, digits) == multiplier
    others = torch.cat([w[:3], w[4:]])
    assert torch.equal(others, others[0].expand_as(others))


def test_two_classes_by_hand() -> None:
    """KL(U || w) = -1/2 log(4 w (1 - w)), so that w = (1 + sqrt(1 - exp(-2 tau))) / 2 for the worse class."""
    for tau in (1e-4, 0.05, 0.5, 3.0):
        w = solve_kldro(torch.tensor([0.2, 0.7], dtype=torch.float64), tau)
        assert float(w[1]) == pytest.approx((1 + math.sqrt(1 - math.exp(-2 * tau))) / 2, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_a_ball_of_radius_zero_holds_the_reference_alone(classes: int, dtype: torch.dtype) -> None:
    """Bit for bit, in the dtype of the losses; and so where all losses are equal, whatever the radius."""
    generator = torch.Generator().manual_seed(classes)
    losses = torch.randn(4, classes, generator=generator).to(dtype)
    uniform = torch.full((4, classes), 1 / classes, dtype=torch.float64).to(dtype)
    assert torch.equal(solve_kldro(losses, 0.0), uniform)
    assert torch.equal(solve_kldro(torch.full_like(losses, -0.3), 0.5), uniform)
    u = torch.rand(4, classes, generator=generator).softmax(dim=-1).to(dtype)
    assert torch.equal(solve_kldro(losses, 0.0, reference=u), u)
    assert torch.equal(solve_kldro(torch.full_like(losses, 7.0), 2.0, reference=u), u)


def test_a_negative_element_of_tau_counts_as_zero() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    w = solve_kldro(losses, torch.tensor([-0.5, 0.5]))
    assert torch.equal(w[0], torch.full((3,), 1 / 3))
    assert torch.equal(w[1], solve_kldro(losses[1], 0.5))


def test_rows_that_stay_and_rows_that_move_share_a_batch() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [1.0, 2.0, 3.0]])
    w = solve_kldro(losses, torch.tensor([0.0, 0.5, 0.5]))
    third = torch.full((3,), 1 / 3)
    assert torch.equal(w[0], third)
    assert torch.equal(w[1], third)
    assert torch.equal(w[2], solve_kldro(losses[2], 0.5))


def test_tied_classes_share_alike() -> None:
    w = solve_kldro(torch.tensor([0.4, -0.2, 0.4, 0.1, -0.2], dtype=torch.float64), 0.7)
    assert w[0] == w[2]
    assert w[1] == w[4]
    assert w[0] > w[3] > w[1]
    u = torch.tensor([0.1, 0.2, 0.3, 0.3, 0.1], dtype=torch.float64)
    w = solve_kldro(torch.tensor([0.4, -0.2, 0.4, 0.1, -0.2], dtype=torch.float64), 0.7, reference=u)
    assert float(w[2] / w[0]) == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize("tau", [35.0, 50.0, 600.0, 1e4, 1e300, math.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_huge_ball_leaves_the_worst_classes_alone(tau: float, dtype: torch.dtype) -> None:
    losses = torch.zeros(4, 10, dtype=dtype)
    losses[0, 4] = 1.0
    losses[1, [2, 7]] = 0.3
    losses[2] = torch.linspace(-1, 1, 10)
    losses[3, :9] = 1e-3
    w = solve_kldro(losses, tau)
    limit = torch.zeros(4, 10, dtype=dtype)
    limit[0, 4], limit[1, [2, 7]], limit[2, 9], limit[3, :9] = 1.0, 0.5, 1.0, 1 / 9
    assert bool(torch.isfinite(w).all())
    torch.testing.assert_close(w, limit, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(w.sum(dim=-1), torch.ones(4, dtype=dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize("tau", [20.0, 100.0, 300.0, 400.0, 600.0])
def test_the_constraint_holds_to_the_end_of_floating_point(tau: float) -> None:
    """The root lies at log(eta - max l) of about -C tau / (C - 1), down to where exp ends."""
    assert -10 * tau / 9 > MIN_LOG
    losses = torch.linspace(0, 1, 10, dtype=torch.float64)
    w = solve_kldro(losses, tau)
    assert float(-(10 * w).log().mean()) == pytest.approx(tau, rel=1e-12)


@pytest.mark.parametrize("tau", [1e-6, 1e-8, 1e-12, 1e-16, 1e-100, 5e-324])
def test_a_tiny_ball_gives_nearly_the_reference(tau: float) -> None:
    losses, _, _ = problems(10, 5, seed=5)
    w = solve_kldro(losses, tau)
    assert bool(torch.isfinite(w).all())
    assert float((kl(torch.full_like(w, 0.1), w) - tau).abs().max()) <= 1e-9
    # Pinsker's inequality: the total variation is at most sqrt(KL / 2).
    assert float((w - 0.1).abs().sum(dim=-1).max()) / 2 <= math.sqrt((tau + 1e-9) / 2)


def test_absent_classes_take_no_part() -> None:
    """A reference of 0 is as if the class were not there, whatever its loss."""
    present = torch.tensor([True, False, True, True, False, True])
    losses = torch.tensor([0.1, 9.0, -0.4, 0.3, -9.0, 0.2], dtype=torch.float64)
    u = present.double() / present.sum()
    w = solve_kldro(losses, 0.5, reference=u)
    assert torch.equal(w[~present], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(w[present], solve_kldro(losses[present], 0.5), rtol=1e-13, atol=0)
    assert torch.equal(solve_kldro(losses, 1e4, reference=u), torch.eye(6, dtype=torch.float64)[3])
    one = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.equal(solve_kldro(losses, 0.5, reference=one), one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_of_any_contrast(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max / 4
    losses = torch.tensor(
        [[largest, 0, -1], [1, 0, -largest], [largest, largest, -largest], [1e-30, 0, 0], [1e30, 1, 0]], dtype=dtype
    )
    w = solve_kldro(losses, 0.5)
    assert bool((w > 0).all())
    torch.testing.assert_close(w.sum(dim=-1), torch.ones(5, dtype=dtype), rtol=1e-6, atol=0)
    torch.testing.assert_close(kl(torch.full_like(w, 1 / 3), w), torch.full((5,), 0.5, dtype=dtype), rtol=1e-5, atol=0)


def test_references_down_to_nothing() -> None:
    """Skewed references and losses over twenty decades, where the divergence falls in steps along eta."""
    rng = np.random.default_rng(11)
    for spread in (0.0, 1.0, 20.0):
        for concentration in (0.01, 0.03, 0.1, 0.3):
            losses = torch.from_numpy(np.exp(spread * rng.normal(size=(40, 12))) * rng.choice([-1, 1], size=(40, 1)))
            if spread == 0:
                losses = torch.from_numpy(rng.integers(0, 3, size=(40, 12)).astype(float))
            reference = rng.dirichlet(np.full(12, concentration), size=40)
            u = torch.from_numpy(reference / reference.sum(axis=1, keepdims=True))
            tau = torch.from_numpy(10 ** rng.uniform(-6, 1, size=40))
            w = solve_kldro(losses, tau, reference=u)
            assert float((w.sum(dim=-1) - 1).abs().max()) <= 1e-12
            # Where the whole ball cannot be used within floating point, the solution is its limit and has zeros.
            limit = ((w == 0) & (u > 0)).any(dim=-1)
            top = losses.masked_fill(u == 0, -torch.inf).amax(dim=-1, keepdim=True)
            assert bool((w[limit] > 0).eq((losses == top)[limit] & (u > 0)[limit]).all())
            equal = (w == u).all(dim=-1)
            assert float((kl(u, w) - tau)[~limit & ~equal].abs().max()) <= 1e-9


def test_single_precision() -> None:
    losses, tau, u = problems(10, PER_SIZE, seed=6)
    single = solve_kldro(losses.float(), tau, reference=u)
    assert single.dtype == torch.float32
    exact = solve_kldro(losses.float().double(), tau, reference=u)
    assert torch.equal(single, exact.float())  # solved in float64, rounded once


def test_a_batch_is_its_problems_one_by_one() -> None:
    losses, tau, u = problems(17, 12, seed=7)
    w = solve_kldro(losses.view(3, 4, 17), tau.view(3, 4), reference=u.view(3, 4, 17))
    assert w.shape == (3, 4, 17)
    for row, values, radius, centre in zip(w.view(12, 17), losses, tau, u, strict=True):
        torch.testing.assert_close(row, solve_kldro(values, float(radius), reference=centre), rtol=1e-13, atol=0)
    shared = solve_kldro(losses, 0.3, reference=u[1])
    torch.testing.assert_close(shared[5], solve_kldro(losses[5], 0.3, reference=u[1]), rtol=1e-13, atol=0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("ball", ["kl", "kl-forward", "chi2", "cvar"])
def test_a_row_that_is_not_finite_has_no_weights_and_spoils_no_other(ball: str, wrong: float) -> None:
    losses = torch.tensor([[1.0, wrong, 2.0], [1.0, 2.0, 3.0]])
    found = solve_kldro(losses, 0.5, ball=ball)
    assert found[0].isnan().all()
    assert torch.equal(found[1], solve_kldro(losses[1], 0.5, ball=ball))


def test_weights_are_constants() -> None:
    losses = torch.randn(5, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert not solve_kldro(losses, 0.5).requires_grad


finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@pytest.mark.medium
@settings(max_examples=150, deadline=None, derandomize=True)
@given(values=st.lists(finite, min_size=2, max_size=12), tau=st.floats(1e-4, 5), data=st.data())
def test_properties(values: list[float], tau: float, data: st.DataObject) -> None:
    """The worse the class the more weight; order, scale and offset of the losses do not matter."""
    losses = torch.tensor(values, dtype=torch.float64)
    w = solve_kldro(losses, tau)
    assert float(w.sum()) == pytest.approx(1, abs=1e-12)
    assert float(kl(torch.full_like(w, 1 / len(w)), w)) <= tau + 1e-9
    order = losses.argsort()
    assert bool((w[order].diff() >= -1e-15).all())
    assert float(w @ losses) >= float(losses.mean()) - 1e-9
    shuffle = torch.tensor(data.draw(st.permutations(range(len(values)))))
    torch.testing.assert_close(solve_kldro(losses[shuffle], tau), w[shuffle], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(solve_kldro(losses * 64, tau), w, rtol=1e-12, atol=1e-14)


def test_a_larger_ball_is_worse() -> None:
    losses = torch.linspace(-1, 1, 10, dtype=torch.float64).expand(6, 10)
    w = solve_kldro(losses, torch.tensor([0.0, 0.05, 0.25, 0.5, 1.0, 5.0]))
    assert bool(((w * losses).sum(dim=-1).diff() > 0).all())


def test_no_value_is_looked_at_from_python() -> None:
    """Fake tensors have no values: a host synchronisation (`.item()`, `bool()`, a branch) would raise."""
    with FakeTensorMode():
        losses = torch.empty(3, 10)
        with pytest.raises(DataDependentOutputException):
            bool((losses > 0).all())
        w = solve_kldro(losses, torch.empty(3), reference=torch.empty(10))
        assert (w.shape, w.dtype) == ((3, 10), torch.float32)
        assert solve_kldro(losses.double(), 0.5).shape == (3, 10)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: solve_kldro(torch.zeros(3), 0.5, ball="l1"), "no ball 'l1'"),
        (lambda: solve_kldro(torch.zeros(3), -0.5), "at least 0"),
        (lambda: solve_kldro(torch.zeros(3), math.nan), "at least 0"),
        (lambda: solve_kldro(torch.tensor(1.0), 0.5), "shape"),
        (lambda: solve_kldro(torch.zeros(3, dtype=torch.int64), 0.5), "float"),
        (lambda: solve_kldro(torch.zeros(3), 0.5, reference=torch.full((4,), 0.25)), r"\(4,\), the losses have 3"),
        (lambda: solve_kldro(torch.zeros(3), 0.5, reference=torch.tensor(1.0)), r"\(\), the losses have 3"),
        (lambda: solve_kldro(torch.zeros(2, 3), 0.5, reference=torch.ones(5, 3) / 3), r"broadcast to \(2, 3\)"),
        (lambda: solve_kldro(torch.zeros(3), 0.5, reference=torch.ones(1, 3) / 3), r"broadcast to \(3,\)"),
        (lambda: solve_kldro(torch.zeros(2, 3), torch.ones(5)), r"tau is of shape \(5,\).* to \(2,\)"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]


def test_the_example_of_its_docstring_runs() -> None:
    assert failures(solve_kldro) == ""
