"""WAT: Hedge over C + 1 experts, by hand over three epochs of costs."""

import copy

import numpy as np
import pytest
import torch
from tests.helpers import class_statistics
from torch import Tensor

from faal.intermediate.class_rule import ClassBudget, EvaluationRequest
from faal.intermediate.rules.wat import WAT

COUNTS = torch.tensor([300, 100])
METRICS = [
    # CE + 6 KL = (1.1, 3.3); over 30 and 10 images 66 / 40 = 1.65
    class_statistics.metrics([30, 10], cross_entropy=[0.5, 1.5], kl_divergence=[0.1, 0.3]),
    # (2.2, 0.7); 73 / 40 = 1.825
    class_statistics.metrics([30, 10], cross_entropy=[1.0, 0.4], kl_divergence=[0.2, 0.05]),
    # (8, 2); 260 / 40 = 6.5
    class_statistics.metrics([30, 10], cross_entropy=[2.0, 1.4], kl_divergence=[1.0, 0.1]),
]
TOTALS = [[1.1, 3.3, 1.65], [3.3, 4.0, 3.475], [11.3, 6.0, 9.975]]
BATCH = class_statistics.batch([5, 3])


def hedge(total: list[float], eta: float) -> list[float]:
    """C e^(eta cost), normalised, over the classes and the average; a sample has its class's and the average's."""
    e = np.exp(eta * np.array(total))
    w = (len(total) - 1) * e / e.sum()
    assert w.sum() == pytest.approx(len(total) - 1)
    return [float(own + w[-1]) for own in w[:-1]]


def close(found: Tensor, expected: list[float]) -> None:
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("eta", [0.1, 0.5])
def test_three_epochs_by_hand(eta: float) -> None:
    rule = WAT(COUNTS, eta=eta)
    class_statistics.begin(rule, 0, 4)
    for epoch, (metrics, total) in enumerate(zip(METRICS, TOTALS, strict=True), start=1):
        class_statistics.begin(rule, epoch, 4, metrics)
        weights = rule.weigh(BATCH)
        close(weights.clean, hedge(total, eta))
        close(weights.robust, hedge(total, eta))
        assert float(rule.weights.sum()) == pytest.approx(2)


def test_the_first_epoch_is_twice_trades() -> None:
    rule = WAT(COUNTS)
    class_statistics.begin(rule, 0, 4)
    for _ in range(3):
        weights = rule.weigh(BATCH)
        assert weights.clean.tolist() == weights.robust.tolist() == [2, 2]
    assert rule.costs.tolist() == [0, 0, 0]


def test_beta_is_that_of_training() -> None:
    """CE + 1 KL = (0.6, 1.8) and 36 / 40."""
    rule = WAT(COUNTS, beta=1.0)
    class_statistics.begin(rule, 1, 4, METRICS[0])
    close(rule.costs, [0.6, 1.8, 0.9])


def test_the_batch_loss() -> None:
    """1/B sum_i w_y (CE + 6 KL) + w_{C+1} mean(CE + 6 KL)."""
    rule = WAT(COUNTS)
    class_statistics.begin(rule, 1, 4, METRICS[0])
    labels, fit, divergence = torch.tensor([0, 1, 1, 0]), torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.1, 0.2, 0, 0.3])
    per_sample = fit + 6 * divergence
    w = rule.weights
    expected = (w[labels] * per_sample).sum() / 4 + w[2] * per_sample.mean()
    torch.testing.assert_close(rule.weigh(class_statistics.batch([2, 2])).reduce(fit, 6 * divergence, labels), expected)


def test_what_it_looks_at() -> None:
    """TRADES' attack on the withheld part, after every epoch."""
    rule = WAT(COUNTS)
    assert rule.steers
    assert rule.evaluation(0) is None
    assert (
        rule.evaluation(1)
        == rule.evaluation(9)
        == EvaluationRequest(part="steer", loss="kl", start="gaussian", steps=10)
    )
    assert rule.budget() == ClassBudget()
    assert rule.first_epoch(100) == 0


def test_absent_classes() -> None:
    rule = WAT(COUNTS)
    class_statistics.begin(rule, 1, 4, METRICS[0])
    assert torch.equal(rule.weigh(class_statistics.batch([0, 4])).robust, rule.weigh(BATCH).robust)


def test_goes_on_within_an_epoch() -> None:
    rule = WAT(COUNTS)
    class_statistics.begin(rule, 1, 4, METRICS[0])
    other = WAT(COUNTS)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    assert torch.equal(rule.weigh(BATCH).clean, other.weigh(BATCH).clean)
    for one in (rule, other):
        class_statistics.begin(one, 2, 4, METRICS[1])
    assert torch.equal(rule.weigh(BATCH).clean, other.weigh(BATCH).clean)
    close(other.costs, TOTALS[1])
