"""DAFA: similarities and weights against a double loop, when they are taken and when they act."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers import class_statistics

from faal.config import Recipe
from faal.intermediate.class_stats import BatchStats, Need, batch_stats
from faal.intermediate.rules.dafa import DAFA
from faal.methods import METHODS

Array = NDArray[np.float64]
S = [[0.8, 0.15, 0.05], [0.3, 0.5, 0.2], [0.1, 0.3, 0.6]]


def weights_by_loop(similarity: Array, strength: float) -> Array:
    """1 + lambda sum_{j != i} (S_ij S_jj where S_ii < S_jj, -S_ji S_ii where S_ii > S_jj)."""
    classes = len(similarity)
    weights = np.ones(classes)
    for i in range(classes):
        for j in range(classes):
            if j != i and similarity[i, i] < similarity[j, j]:
                weights[i] += strength * similarity[i, j] * similarity[j, j]
            elif j != i and similarity[i, i] > similarity[j, j]:
                weights[i] -= strength * similarity[j, i] * similarity[i, i]
    return weights


def noted(similarity: list[list[float]], counts: list[int], **constants: object) -> DAFA:
    """A run of two epochs, noted in the first, at the beginning of the second."""
    rule = DAFA(torch.tensor(counts), **{"start": 0.5} | constants)  # type: ignore[arg-type]
    class_statistics.begin(rule, 0, 2)
    rule.weigh(class_statistics.batch(counts, {Need.PROBABILITIES: similarity}))
    class_statistics.begin(rule, 1, 2)
    return rule


def test_by_hand() -> None:
    """Class 0 gives 0.3 * 0.8 to class 1 and 0.1 * 0.8 to class 2; class 2 gives 0.2 * 0.6 to class 1."""
    rule = noted(S, [4, 4, 4])
    np.testing.assert_allclose(rule.weights, [1 - 0.24 - 0.08, 1 + 0.24 + 0.12, 1 + 0.08 - 0.12], rtol=1e-5)
    np.testing.assert_allclose(rule.weights, weights_by_loop(np.array(S), 1.0), rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("strength", [1.0, 1.5])
def test_against_a_double_loop(classes: int, strength: float) -> None:
    """Gathered over batches with absent classes, from logits; the transfers sum to 0."""
    rule = DAFA(torch.ones(classes), strength=strength, start=0.5, clamped=False)
    class_statistics.begin(rule, 0, 2)
    generator = torch.Generator().manual_seed(classes)
    rows: list[list[Array]] = [[] for _ in range(classes)]
    for _ in range(30):
        labels = torch.randint(classes, (16,), generator=generator)
        logits = torch.randn(16, classes, generator=generator) + 2 * torch.eye(classes)[labels]
        rule.weigh(batch_stats(logits, labels, labels, classes, rule.needs))
        for label, row in zip(labels.tolist(), logits.double().softmax(dim=1).numpy(), strict=True):
            rows[label].append(row)
    class_statistics.begin(rule, 1, 2)
    similarity = np.array([np.mean(each, axis=0) for each in rows])
    np.testing.assert_allclose(rule.weights, weights_by_loop(similarity, strength), rtol=1e-4)
    assert float(rule.weights.sum()) == pytest.approx(classes, rel=1e-5)


def test_ties_transfer_nothing() -> None:
    assert noted([[0.5, 0.5], [0.5, 0.5]], [3, 3]).weights.tolist() == [1, 1]


COLLAPSED = [[0.95, 0.05, 0, 0, 0], *([0.9] + [0.1 if c == r else 0.0 for c in range(4)] for r in range(4))]
"""Every class is taken for class 0, which pays 0.9 * 0.95 to each of four: 1 - 3.42."""


class TestClamp:
    def test_within_bounds_with_mean_one(self) -> None:
        """Of (-2.42, 1.855, 1.855, 1.855, 1.855) the first becomes 0.1; the sum of 7.52 becomes 5."""
        found = noted(COLLAPSED, [2] * 5).weights
        np.testing.assert_allclose(found, np.array([0.1, 1.855, 1.855, 1.855, 1.855]) * 5 / 7.52, rtol=1e-5)

    def test_as_published_a_weight_may_be_negative(self) -> None:
        found = noted(COLLAPSED, [2] * 5, clamped=False).weights
        np.testing.assert_allclose(found, [-2.42, 1.855, 1.855, 1.855, 1.855], rtol=1e-5)

    def test_at_most_two(self) -> None:
        """Class 0, taken for every other, gains 0.3 * 0.9 from each of three times lambda = 2: 2.62."""
        similarity = [
            [0.1, 0.3, 0.3, 0.3],
            *([0.1 if c == 0 else 0.9 if c == r else 0.0 for c in range(4)] for r in (1, 2, 3)),
        ]
        clamped = np.array([2, 0.46, 0.46, 0.46])
        np.testing.assert_allclose(noted(similarity, [2] * 4, strength=2.0).weights, clamped * 4 / 3.38, rtol=1e-5)

    def test_weights_within_bounds_are_left_alone(self) -> None:
        one, other = noted(S, [4, 4, 4]), noted(S, [4, 4, 4], clamped=False)
        torch.testing.assert_close(one.weights, other.weights)


class TestWhen:
    @pytest.mark.parametrize(("epochs", "notes"), [(110, 69), (22, 13), (11, 6), (2, 1), (1, 0)])
    def test_noted_once_and_fixed_from_then_on(self, epochs: int, notes: int) -> None:
        """Of 110 epochs the seventieth is noted; W acts from the next."""
        rule, noting, acting = DAFA(torch.ones(3)), [], []
        assert rule.first_epoch(epochs) == notes
        batch = class_statistics.batch([4, 4, 4], {Need.PROBABILITIES: S})
        for epoch in range(epochs):
            class_statistics.begin(rule, epoch, epochs)
            if rule.needs:
                assert rule.needs == {Need.PROBABILITIES}
                noting.append(epoch)
            if not torch.equal(rule.weights, torch.ones(3)):
                acting.append(epoch)
            rule.weigh(batch if rule.needs else BatchStats(counts=batch.counts, sums={}))
        assert noting == [notes]
        assert acting == list(range(notes + 1, epochs))

    def test_only_the_warm_ups_last_epoch_counts(self) -> None:
        rule = DAFA(torch.ones(2))
        class_statistics.begin(rule, 3, 11)
        assert rule.needs == frozenset()
        rule.weigh(BatchStats(counts=torch.ones(2), sums={}))
        assert float(rule.counts.sum()) == 0


class TestUse:
    def test_margins_steps_and_the_clean_term(self) -> None:
        """eps W_y, step W_y and W_y CE; the KL is not weighted, and nothing is divided by the batch's sum."""
        rule = noted(S, [4, 4, 4])
        budget, weights = rule.budget(), rule.weigh(BatchStats(counts=torch.tensor([9.0, 0, 1]), sums={}))
        for found in (budget.epsilon, budget.step_size, weights.clean):
            assert found is not None
            np.testing.assert_allclose(found, [0.68, 1.36, 0.96], rtol=1e-5)
        assert weights.robust.tolist() == [1, 1, 1]

    def test_before_it_acts_all_is_one(self) -> None:
        rule = DAFA(torch.ones(3))
        class_statistics.begin(rule, 0, 11)
        budget, weights = rule.budget(), rule.weigh(BatchStats(counts=torch.ones(3), sums={}))
        for found in (budget.epsilon, budget.step_size, weights.clean, weights.robust):
            assert found is None or found.tolist() == [1, 1, 1]


def test_a_class_that_never_came_is_taken_for_nothing() -> None:
    """Its row is 0: it is the hardest, yet nobody is like it."""
    rule = noted([[0.6, 0.2, 0.2], [0.3, 0.7, 0.0], [0.0, 0.0, 0.0]], [3, 3, 0])
    np.testing.assert_allclose(
        rule.weights, weights_by_loop(np.array([[0.6, 0.2, 0.2], [0.3, 0.7, 0], [0, 0, 0]]), 1.0), rtol=1e-5
    )


def test_goes_on_while_it_notes() -> None:
    rule = DAFA(torch.ones(3), start=0.5)
    class_statistics.begin(rule, 0, 2)
    rule.weigh(class_statistics.batch([1, 0, 3], {Need.PROBABILITIES: S}))
    other = DAFA(torch.ones(3), start=0.5)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    assert other.needs == rule.needs != frozenset()
    for one in (rule, other):
        one.weigh(class_statistics.batch([2, 5, 0], {Need.PROBABILITIES: np.roll(S, 1, axis=1).tolist()}))
        class_statistics.begin(one, 1, 2)
    assert torch.equal(rule.weights, other.weights)
    assert not torch.equal(rule.weights, torch.ones(3))
    third = DAFA(torch.ones(3), start=0.5)
    third.load_state_dict(copy.deepcopy(rule.state_dict()))
    assert torch.equal(third.weights, rule.weights)
    assert third.needs == frozenset()


def test_the_row() -> None:
    rule = METHODS["dafa"].make_rule(Recipe(constants={"strength": 1.5, "clamped": False}), torch.ones(3))
    assert isinstance(rule, DAFA)
    assert (rule.strength, rule.start, rule.clamped) == (1.5, 7 / 11, False)
