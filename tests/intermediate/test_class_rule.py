"""What class rules share: how weights are applied, how far a run is; and the rule that does nothing."""

import pytest
import torch

from faal.intermediate.class_rule import ClassBudget, ClassRule, EpochStats, TermWeights
from faal.intermediate.class_stats import BatchStats
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.uniform import Uniform

CLASSES = torch.tensor([0, 2, 2, 1])
CLEAN, ROBUST = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])
WEIGHTS = TermWeights(clean=torch.tensor([1.0, 0.5, 2.0]), robust=torch.tensor([0.1, 0.2, 0.3]))


def test_each_term_has_its_weights() -> None:
    assert WEIGHTS.reduce(CLEAN, None, CLASSES) == (1 + 2 * 2 + 2 * 3 + 0.5 * 4) / 4
    torch.testing.assert_close(WEIGHTS.reduce(None, ROBUST, CLASSES), torch.tensor((1 + 6 + 9 + 8) / 4))
    torch.testing.assert_close(WEIGHTS.reduce(CLEAN, ROBUST, CLASSES), torch.tensor((13 + 24) / 4))


def test_weights_are_constants() -> None:
    weights = WEIGHTS.clean.clone().requires_grad_()
    terms = CLEAN.clone().requires_grad_()
    TermWeights(clean=weights, robust=weights).reduce(terms, ROBUST, CLASSES).backward()
    assert weights.grad is None
    torch.testing.assert_close(terms.grad, WEIGHTS.clean[CLASSES] / 4)


def test_progress() -> None:
    assert [EpochStats(epoch=epoch, epochs=4).progress for epoch in range(4)] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("rule", [Uniform(torch.ones(3)), FAAL(3)])
def test_rules_keep_the_protocol(rule: ClassRule) -> None:
    assert isinstance(rule.needs, frozenset)
    rule.begin_epoch(EpochStats(epoch=0, epochs=2))
    assert rule.budget() == ClassBudget(epsilon=None, step_size=None)
    rule.load_state_dict(rule.state_dict())


def test_uniform() -> None:
    batch = BatchStats(counts=torch.tensor([3.0, 0.0, 1.0]), sums={})
    weights = Uniform(torch.ones(3)).weigh(batch)
    assert torch.equal(weights.clean, torch.ones(3))
    assert torch.equal(weights.robust, torch.ones(3))
    assert Uniform(torch.ones(3)).needs == frozenset()
    assert Uniform(torch.ones(3)).state_dict() == {}
