"""The balls beside the paper's at their ends: radius 0 and tiny, huge, ties, absent classes, skew and contrast."""

import math

import numpy as np
import pytest
import torch
from tests.intermediate.balls import oracles as oracle

from faal import solve_kldro

BALLS = ["kl-forward", "chi2", "cvar"]


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
    torch.testing.assert_close(w[2], solve_kldro(losses[2], 0.4, ball=ball))


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
    radius = float(oracle.limit_radius(ball, np.float64(0.15)))
    torch.testing.assert_close(solve_kldro(losses, radius + 1e-12, u, ball=ball), worst, rtol=1e-9, atol=0)
    for short in (1e-3, 1e-6, 1e-9):
        w = solve_kldro(losses, radius - short, u, ball=ball)
        assert float(w[4]) > short / 100
        assert oracle.divergence(ball, w.numpy(), u.numpy()) == pytest.approx(radius - short, abs=1e-13)


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
    rng = np.random.default_rng(5)
    losses, u = torch.from_numpy(rng.normal(size=(5, 10)) * 1e3), torch.from_numpy(rng.dirichlet(np.ones(10), size=5))
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
    radius = oracle.divergence(ball, w.double().numpy(), np.full((5, 3), 1 / 3))
    np.testing.assert_allclose(radius, 0.2, rtol=1e-5)
    torch.testing.assert_close(w.sum(dim=-1), torch.ones(5, dtype=dtype), rtol=1e-6, atol=0)


@pytest.mark.medium
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
            np.testing.assert_array_less(oracle.divergence(ball, w, u), tau * (1 + 1e-9) + 1e-12)
            for values, radius, centre, weights in zip(losses, tau, u, w, strict=True):
                if np.ptp(values[centre > 0]) > 0:
                    gap = oracle.dual(ball, values, radius, centre) - weights @ values
                    assert -1e-10 <= gap / np.ptp(values[centre > 0]) <= 1e-9


def test_newton_does_not_swing_for_ever() -> None:
    """Gaps and weights over thirty decades, on which Newton's steps alone go to and fro between two points."""
    losses = torch.tensor([0.0, -5.0898e-29, -5.3779e-29, -8.1341e-15, -5.7546e-21], dtype=torch.float64)
    u = torch.tensor([3.5118e-07, 1.0037e-29, 2.9009e-29, 4.4803e-22, 1.0], dtype=torch.float64)
    w = solve_kldro(losses, 5.4919e-05, u / u.sum(), ball="kl-forward")
    assert oracle.divergence("kl-forward", w.numpy(), (u / u.sum()).numpy()) == pytest.approx(5.4919e-05, rel=1e-9)


@pytest.mark.parametrize("ball", BALLS)
def test_a_rounded_reference_gives_a_distribution(ball: str) -> None:
    """Float32 shares sum to 1 within 1e-7 only; the weights do exactly."""
    u = torch.rand(20, 100, generator=torch.Generator().manual_seed(3)).softmax(dim=-1)
    assert float((u.double().sum(dim=-1) - 1).abs().max()) > 1e-9
    losses = torch.randn(20, 100, generator=torch.Generator().manual_seed(4)).double()
    for tau in (1e-12, 1e-3, 0.5):
        w = solve_kldro(losses, tau, reference=u, ball=ball)
        assert float((w.sum(dim=-1) - 1).abs().max()) <= 1e-14
