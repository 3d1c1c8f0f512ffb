"""CFOL: the class distribution by hand over three batches, sampled and reweighed."""

import copy
import math

import numpy as np
import pytest
import torch
from tests.helpers import class_statistics

from faal.config import Recipe
from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget
from faal.intermediate.class_stats import BatchStats, Need
from faal.intermediate.rules.cfol import CFOL
from faal.methods import METHODS


def of_errors(counts: list[int], errors: list[int]) -> BatchStats:
    right = [1 - e / max(1, n) for n, e in zip(counts, errors, strict=True)]
    return class_statistics.batch(counts, {Need.CORRECT: right})


def distribution(v: np.ndarray, gamma: float) -> np.ndarray:
    return np.asarray(gamma / len(v) + (1 - gamma) * np.exp(v) / np.exp(v).sum())


BATCHES = [([4, 2, 2], [1, 2, 0]), ([3, 0, 5], [3, 0, 1]), ([0, 8, 0], [0, 6, 0])]


class TestSampled:
    @pytest.mark.parametrize("gamma", [0.5, 0.1, 1.0])
    def test_three_batches_by_hand(self, gamma: float) -> None:
        """p = gamma / C + (1 - gamma) softmax(v); every error adds eta / p_c with the p that the batch was drawn by."""
        rule, v = CFOL(torch.tensor([50, 30, 20]), gamma=gamma, eta=0.2), np.zeros(3)
        assert rule.sampling == rule.probabilities
        for counts, errors in BATCHES:
            np.testing.assert_allclose(rule.probabilities(), distribution(v, gamma), rtol=1e-5)
            weights = rule.weigh(of_errors(counts, errors))
            assert weights.clean.tolist() == weights.robust.tolist() == [1, 1, 1]
            v = v + 0.2 * np.array(errors) / distribution(v, gamma)
            np.testing.assert_allclose(rule.v, v, rtol=1e-5)
        assert float(rule.probabilities().sum()) == pytest.approx(1)

    def test_one_batch_of_two_classes(self) -> None:
        """3 errors over p = 1/2 with eta 0.1: v = (0, 0.6), p = 1/4 + 1/2 (1, e^0.6) / (1 + e^0.6)."""
        rule = CFOL(torch.tensor([5, 5]), eta=0.1)
        rule.weigh(of_errors([4, 4], [0, 3]))
        e = math.exp(0.6)
        np.testing.assert_allclose(rule.probabilities(), [0.25 + 0.5 / (1 + e), 0.25 + 0.5 * e / (1 + e)], rtol=1e-5)

    def test_it_starts_uniform_whatever_the_sizes(self) -> None:
        assert CFOL(torch.tensor([90, 9, 1])).probabilities().tolist() == pytest.approx([1 / 3] * 3)

    def test_a_class_never_falls_below_its_uniform_part(self) -> None:
        rule = CFOL(torch.ones(4), eta=10.0)
        for _ in range(20):
            rule.weigh(of_errors([2, 2, 2, 2], [2, 0, 0, 0]))
        np.testing.assert_allclose(rule.probabilities(), [0.5 + 0.125, 0.125, 0.125, 0.125], rtol=1e-5)


class TestReweighed:
    def test_three_batches_by_hand(self) -> None:
        """Weights p_c / pi_c. Classes come with their shares pi_c here, so that an error counts eta / pi_c: what the
        step adds has the mean of the sampled form's."""
        shares = np.array([0.5, 0.3, 0.2])
        rule, v = CFOL(torch.tensor([50, 30, 20]), eta=0.2, sampled=False), np.zeros(3)
        assert rule.sampling is None
        for counts, errors in BATCHES:
            weights = rule.weigh(of_errors(counts, errors))
            np.testing.assert_allclose(weights.robust, distribution(v, 0.5) / shares, rtol=1e-5)
            assert torch.equal(weights.clean, weights.robust)
            v = v + 0.2 * np.array(errors) / shares
            np.testing.assert_allclose(rule.v, v, rtol=1e-5)

    def test_both_forms_have_one_mean(self) -> None:
        """Of 100 samples with error rates (0.2, 0.6), drawn by p or by the shares: one v and one weighted loss."""
        rates, class_loss = torch.tensor([0.2, 0.6]), torch.tensor([0.5, 2.0])
        sampled, reweighed = (CFOL(torch.tensor([80, 20]), eta=0.01, sampled=form) for form in (True, False))
        for rule in (sampled, reweighed):
            rule.v = torch.tensor([0.0, 1.0])
        p, losses = sampled.probabilities(), []
        for rule, drawn in ((sampled, p), (reweighed, torch.tensor([0.8, 0.2]))):
            batch = BatchStats(counts=100 * drawn, sums={Need.CORRECT: 100 * drawn * (1 - rates)})
            losses.append(float((drawn * rule.weigh(batch).robust * class_loss).sum()))
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        torch.testing.assert_close(sampled.v, reweighed.v)


def test_goes_on_within_an_epoch() -> None:
    rule = CFOL(torch.ones(3), eta=0.3)
    rule.weigh(of_errors(*BATCHES[0]))
    other = CFOL(torch.ones(3), eta=0.3)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    for one in (rule, other):
        one.weigh(of_errors(*BATCHES[1]))
    assert torch.equal(rule.probabilities(), other.probabilities())


def test_the_row() -> None:
    """The published constants; the form is one of them."""
    rule = METHODS["cfol"].make_rule(Recipe(), torch.ones(3))
    assert isinstance(rule, CFOL)
    assert (rule.gamma, rule.eta, rule.sampling) == (0.5, 5e-6, rule.probabilities)
    assert rule.budget() == ClassBudget()
    assert METHODS["cfol"].make_rule(Recipe(constants={"sampled": False}), torch.ones(3)).sampling is None


def test_constants_out_of_range() -> None:
    with pytest.raises(InputError, match="CFOL's gamma is above 0"):
        CFOL(torch.tensor([5, 5, 5]), **{"gamma": 0.0})
