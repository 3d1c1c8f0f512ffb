"""Newton's method in a bracket: the root, how many steps it takes, and what it makes of odd moves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from faal.intermediate.balls import newton as module
from faal.intermediate.balls.newton import newton

LEVELS = torch.tensor([1e-3, 0.5, 2.0, 40.0], dtype=torch.float64)


class Counted:
    """exp(s) = level, and how often it was evaluated."""

    def __init__(self, levels: Tensor) -> None:
        self.levels, self.calls = levels, 0

    def __call__(self, s: Tensor) -> Tensor:
        self.calls += 1
        return self.levels * (-s).exp() - 1


def bracket(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.zeros_like(like), torch.full_like(like, -10.0), torch.full_like(like, 10.0)


def test_it_ends_where_all_have_settled() -> None:
    """On a CPU; and where it goes on regardless it changes nothing any more."""
    probe = Counted(LEVELS)
    s = newton(probe, *bracket(LEVELS), steps=60)
    torch.testing.assert_close(s, LEVELS.log(), rtol=0, atol=1e-12)
    assert probe.calls < 15


def test_it_does_not_look_where_a_look_costs_something() -> None:
    probe = Counted(LEVELS.to("meta"))
    newton(probe, *bracket(probe.levels), steps=60)
    assert probe.calls == 60


def test_a_problem_that_nobody_needs_holds_up_no_other() -> None:
    probe = Counted(torch.tensor([2.0, torch.nan], dtype=torch.float64))
    s = newton(probe, *bracket(probe.levels), steps=60)
    assert float(s[0]) == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-7)
    assert bool(s[1].isnan())
    assert probe.calls < 15


@pytest.mark.parametrize(
    "move",
    [
        lambda s: torch.where(s < 3, torch.inf, -torch.inf),
        lambda s: -(s - 3).atan() * (1 + (s - 3).square()),
    ],
    ids=["only the side is known", "steps that diverge alone"],
)
def test_bisections_keep_it_in_the_bracket(move: Callable[[Tensor], Tensor]) -> None:
    start = torch.tensor([-9.0, 9.0], dtype=torch.float64)
    s = newton(move, start, torch.full_like(start, -10.0), torch.full_like(start, 10.0), steps=60)
    torch.testing.assert_close(s, torch.full_like(s, 3.0), rtol=0, atol=1e-6)


def test_only_plain_tensors_on_a_cpu_are_looked_at() -> None:
    class Other(Tensor):
        pass

    assert module.may_evaluate(LEVELS)
    assert not module.may_evaluate(LEVELS.to("meta"))
    assert not module.may_evaluate(LEVELS.as_subclass(Other))
