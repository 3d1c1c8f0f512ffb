"""Group DRO: exponentiated gradient by hand over three batches."""

import copy
import math

import numpy as np
import pytest
import torch
from tests.helpers import class_statistics

from faal.intermediate.class_stats import BatchStats, Need
from faal.intermediate.rules.group_dro import GroupDRO


def of_losses(counts: list[int], losses: list[float]) -> BatchStats:
    return class_statistics.batch(counts, {Need.CROSS_ENTROPY: losses})


def test_three_batches_by_hand() -> None:
    """q from (1/3, 1/3, 1/3), eta 0.5: over log q the losses add up; a class that is absent keeps its q but for the
    norm. Over shares of 1/2, 1/4, 1/4."""
    rule = GroupDRO(torch.tensor([200, 100, 100]), eta=0.5)
    total = np.zeros(3)
    batches = [([4, 2, 2], [1.0, 2.0, 0.5]), ([3, 0, 5], [0.2, 0.0, 3.0]), ([0, 8, 0], [0.0, 1.5, 0.0])]
    for counts, losses in batches:
        weights = rule.weigh(of_losses(counts, losses))
        total += losses  # 0 for an absent class
        q = np.exp(0.5 * total) / np.exp(0.5 * total).sum()
        np.testing.assert_allclose(rule.q, q, rtol=1e-5)
        np.testing.assert_allclose(weights.robust, q / [0.5, 0.25, 0.25], rtol=1e-5)
        assert torch.equal(weights.clean, weights.robust)
    np.testing.assert_allclose(rule.q / rule.q[0], [1, math.exp(0.5 * 2.3), math.exp(0.5 * 2.3)], rtol=1e-5)


def test_a_class_that_was_easier_for_long_comes_back() -> None:
    """Two classes, eta 1: 200 steps at a loss of 1 to 0 leave e^-200, no number of float32; 210 back outweigh them."""
    rule = GroupDRO(torch.tensor([5, 5]), eta=1.0)
    for losses, steps in (([1.0, 0.0], 200), ([0.0, 1.0], 210)):
        for _ in range(steps):
            rule.weigh(of_losses([3, 3], losses))
    np.testing.assert_allclose(rule.q, [1 / (1 + math.exp(10)), 1 / (1 + math.exp(-10))], rtol=1e-4)


def test_the_first_weights_are_those_after_the_first_batch() -> None:
    """Two classes, eta 0.01, losses 0 and 1: 1 / (1 + e^0.01) = 0.4975000."""
    weights = GroupDRO(torch.tensor([5, 5])).weigh(of_losses([3, 3], [0.0, 1.0]))
    np.testing.assert_allclose(weights.robust, [2 * 0.49750002, 2 * 0.50249998], rtol=1e-6)


def test_the_expected_loss_is_that_of_the_groups() -> None:
    """Over the whole training set as one batch, q_c / pi_c give sum_c q_c l_c."""
    counts = torch.tensor([30, 10])
    rule = GroupDRO(counts, eta=1.0)
    labels, class_loss = torch.repeat_interleave(torch.arange(2), counts), torch.tensor([0.3, 2.0])
    loss = rule.weigh(of_losses([30, 10], [0.3, 2.0])).reduce(None, class_loss[labels], labels)
    assert float(loss) == pytest.approx(float(rule.q @ class_loss), rel=1e-5)


def test_q_stays_a_distribution_however_large_the_losses() -> None:
    rule = GroupDRO(torch.ones(3))
    for _ in range(2000):
        weights = rule.weigh(of_losses([2, 2, 2], [9.0, 9.5, 0.0]))
    assert bool(weights.robust.isfinite().all())
    assert float(rule.q.sum()) == pytest.approx(1, abs=1e-5)
    assert float(weights.robust[1]) == pytest.approx(3, rel=1e-3)


def test_goes_on() -> None:
    rule = GroupDRO(torch.tensor([2, 1]), eta=0.3)
    rule.weigh(of_losses([2, 1], [1.0, 3.0]))
    other = GroupDRO(torch.tensor([2, 1]), eta=0.3)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    batch = of_losses([0, 3], [0.0, 2.0])
    assert torch.equal(rule.weigh(batch).robust, other.weigh(batch).robust)
    assert torch.equal(rule.q, other.q)
