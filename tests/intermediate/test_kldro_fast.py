"""What makes the solver fast changes no solution: the search that ends early, its bracket, and the compiled graph."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from faal import FAAL, solve_kldro
from faal.intermediate.balls import kl, kl_forward, newton
from faal.intermediate.class_stats import batch_stats


def ordinary(classes: int, count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, tau and references, alternately uniform and with absent classes."""
    rng = np.random.default_rng(classes)
    losses = np.tanh(rng.normal(size=(count, classes)))
    tau = 10 ** rng.uniform(-3, math.log10(2), size=count)
    present = rng.random((count, classes)) < 0.6
    present[::2] = present[:, :2] = True
    reference = present / present.sum(axis=1, keepdims=True)
    return torch.from_numpy(losses), torch.from_numpy(tau), torch.from_numpy(reference)


def skewed(spread: float, concentration: float, count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Losses over decades and references down to nothing."""
    rng = np.random.default_rng(5)
    losses = np.exp(spread * rng.normal(size=(count, 12))) * rng.choice([-1, 1], size=(count, 1))
    reference = rng.dirichlet(np.full(12, concentration), size=count)
    reference /= reference.sum(axis=1, keepdims=True)
    tau = 10 ** rng.uniform(-6, 1, size=count)
    return torch.from_numpy(losses), torch.from_numpy(tau), torch.from_numpy(reference)


def problems() -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    found = {f"{classes} classes": ordinary(classes) for classes in (2, 10, 100, 1000)}
    for spread in (1.0, 20.0):
        for concentration in (0.03, 0.3):
            found[f"skewed, {spread:g}, {concentration:g}"] = skewed(spread, concentration)
    return found


@pytest.mark.parametrize("ball", ["kl", "kl-forward"])
@pytest.mark.parametrize("name", problems())
def test_an_early_end_changes_nothing(name: str, ball: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, so that each ends as early as it may."""
    losses, tau, reference = problems()[name]
    early = torch.stack([solve_kldro(*row, ball=ball) for row in zip(losses, tau, reference, strict=True)])
    monkeypatch.setattr(newton, "may_evaluate", lambda tensor: False)
    torch.testing.assert_close(early, solve_kldro(losses, tau, reference, ball=ball), rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_few_steps_are_needed(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixed number is for the rarest references: half of it solves ordinary problems to the last digits."""
    losses, tau, reference = ordinary(classes)
    exact = solve_kldro(losses, tau, reference)
    monkeypatch.setattr(kl, "NEWTON_STEPS", kl.NEWTON_STEPS // 2)
    torch.testing.assert_close(solve_kldro(losses, tau, reference), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", problems())
def test_the_bracket_holds_the_root(name: str) -> None:
    """g lies above its asymptote at -infinity and below Var_u(a) exp(-2 s) / 2, whatever the reference."""
    losses, _, u = problems()[name]
    inside = u > 0
    gap = losses.where(inside, -torch.inf).amax(dim=-1, keepdim=True) - losses
    gap = gap.where(inside, 0.0)
    gap = gap / gap.amax(dim=-1, keepdim=True)
    best = gap == 0
    tied, mean = (u * best).sum(dim=-1), (u * gap).sum(dim=-1, keepdim=True)
    variance = (u * (gap - mean).square()).sum(dim=-1)
    rest = (u * torch.where(best, 1.0, gap).log()).sum(dim=-1)
    for s in torch.linspace(-40, 8, 49, dtype=torch.float64):
        distance = gap + s.exp()
        g = (u * distance.log()).sum(dim=-1) + (u / distance).sum(dim=-1).log()
        rounding = 1e-14 * (1 + s.abs())
        assert bool((g >= tied.log() + rest - s * (1 - tied) - rounding).all())
        assert bool((g <= variance * (-2 * s).exp() / 2 + rounding).all())


def test_rows_whose_answer_is_known_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Radius 0 and equal losses are never searched for: beside them a problem takes no step more than alone."""
    taken: list[int] = []
    own = newton.newton

    def counted(probe: object, *inputs: Tensor, steps: int) -> Tensor:
        calls: list[Tensor] = []

        def noted(s: Tensor) -> Tensor:
            calls.append(s)
            return probe(s)  # type: ignore[operator,no-any-return]

        found = own(noted, *inputs, steps=steps)
        taken.append(len(calls))
        return found

    monkeypatch.setattr(kl, "newton", counted)
    losses = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [3.0, 3.0, 3.0]])
    together = solve_kldro(losses, torch.tensor([0.5, 0.0, 0.5]))
    alone = solve_kldro(losses[0], 0.5)
    torch.testing.assert_close(together[0], alone, rtol=1e-12, atol=0)
    assert torch.equal(together[1:], torch.full((2, 3), 1 / 3))
    assert taken[0] == taken[1] < 10


def test_not_a_number_is_not_hidden() -> None:
    losses = torch.tensor([[1.0, torch.nan, 2.0], [1.0, 0.0, 2.0]])
    w = solve_kldro(losses, 0.5)
    assert bool(w[0].isnan().all())
    torch.testing.assert_close(w[1], solve_kldro(losses[1], 0.5))


@pytest.fixture
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph is paid by the number of its steps."""
    for module in (kl, kl_forward):
        monkeypatch.setattr(module, "NEWTON_STEPS", 4)


@pytest.mark.medium
@pytest.mark.usefixtures("_few_steps")
@pytest.mark.parametrize("ball", ["kl", "kl-forward", "chi2", "cvar"])
def test_the_solver_is_one_graph(ball: str) -> None:
    """With a tensor tau and a reference; the graph is run as it was recorded, which takes no compiler."""
    losses, tau, reference = ordinary(10, 4)
    inputs = (losses, tau.clamp(max=0.9), reference, ball)
    graph = torch.compile(solve_kldro, fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(graph(*inputs), solve_kldro(*inputs), rtol=0, atol=1e-12)


@pytest.mark.medium
@pytest.mark.usefixtures("_few_steps")
def test_phase_2_compiles() -> None:
    """From logits to weights in one graph, by the compiler itself: some seconds."""
    rule = FAAL(10, tau=0.5, frequencies=torch.arange(1, 11))
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(12, 10, generator=generator), torch.randint(10, (12,), generator=generator)

    def weights(logits: Tensor, labels: Tensor) -> Tensor:
        return rule.weigh(batch_stats(logits, labels, labels, 10, rule.needs)).robust

    graph = torch.compile(weights, fullgraph=True, dynamic=False)
    torch.testing.assert_close(graph(logits, labels), weights(logits, labels), rtol=0, atol=1e-6)
    logits = -logits  # another batch, the same graph
    torch.testing.assert_close(graph(logits, labels), weights(logits, labels), rtol=0, atol=1e-6)
