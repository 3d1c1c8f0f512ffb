"""CFA: margins and regularisation from the last epoch's robust accuracy, by hand over three epochs."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import class_statistics
from torch import Tensor

from faal.config import Recipe
from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget
from faal.intermediate.class_stats import Need
from faal.intermediate.rules.cfa import CFA
from faal.methods import METHODS

COUNTS = torch.tensor([50, 50, 50])
# Right under attack by class: 3 of 4, 1 of 4, none of none; then 0 of 2, 2 of 4, 1 of 5: A = (1/2, 3/8, 1/5).
BATCHES = [
    class_statistics.batch([4, 4, 0], {Need.CORRECT: [0.75, 0.25, 0.0]}),
    class_statistics.batch([2, 4, 5], {Need.CORRECT: [0.0, 0.5, 0.2]}),
]
ACCURACY = [0.5, 0.375, 0.2]
OTHER = class_statistics.batch([10, 10, 10], {Need.CORRECT: [0.1, 0.9, 1.0]})


def close(found: Tensor | None, expected: list[float]) -> None:
    assert found is not None
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=1e-6)


def acting(**constants: Any) -> CFA:
    """Epoch 2 of 40, where it begins: the first epoch's accuracy is forgotten, the second's is `ACCURACY`."""
    rule = CFA(COUNTS, **constants)
    class_statistics.begin(rule, 0, 40)
    rule.weigh(OTHER)
    class_statistics.begin(rule, 1, 40)
    for batch in BATCHES:
        rule.weigh(batch)
    class_statistics.begin(rule, 2, 40)
    return rule


class TestMargins:
    def test_by_hand(self) -> None:
        """(0.5 + A) epsilon; the step stays."""
        budget = acting().budget()
        close(budget.epsilon, [1.0, 0.875, 0.7])
        assert budget.step_size is None

    def test_the_next_epoch_sees_the_last_alone(self) -> None:
        rule = acting(lambda1=0.3)
        close(rule.budget().epsilon, [0.8, 0.675, 0.5])
        rule.weigh(OTHER)
        close(rule.budget().epsilon, [0.8, 0.675, 0.5])
        class_statistics.begin(rule, 3, 40)
        close(rule.budget().epsilon, [0.4, 1.2, 1.3])

    def test_a_class_that_an_epoch_lacked(self) -> None:
        rule = CFA(COUNTS)
        class_statistics.begin(rule, 4, 40)
        rule.weigh(BATCHES[0])
        class_statistics.begin(rule, 5, 40)
        close(rule.budget().epsilon, [1.25, 0.75, 0.5])


class TestWhenItBegins:
    @pytest.mark.parametrize("epochs", [200, 40, 20, 10, 2])
    def test_after_a_twentieth_of_the_run(self, epochs: int) -> None:
        """Epoch 10 of 200; never in the first, which has no epoch before it."""
        rule, acts = CFA(COUNTS), []
        for epoch in range(epochs):
            class_statistics.begin(rule, epoch, epochs)
            acts.append(rule.budget() != ClassBudget())
            rule.weigh(OTHER)
        assert acts.index(True) == max(1, epochs // 20)
        assert all(acts[acts.index(True) :])

    def test_at_once(self) -> None:
        """Even then the first epoch is plain: it has no epoch before it."""
        rule = CFA(COUNTS, regularised=True, start=0.0)
        class_statistics.begin(rule, 0, 40)
        assert rule.budget() == ClassBudget()
        assert rule.weigh(OTHER).clean.tolist() == [1, 1, 1]
        class_statistics.begin(rule, 1, 40)
        close(rule.budget().epsilon, [0.6, 1.4, 1.5])

    def test_it_counts_from_the_epoch_before(self) -> None:
        """There a run of the plain method may be taken over; not with a loss that is divided from the first step."""
        assert [CFA(COUNTS).first_epoch(epochs) for epochs in (200, 100, 40, 20, 2)] == [9, 4, 1, 0, 0]
        assert CFA(COUNTS, divided=True).first_epoch(200) == 0

    @pytest.mark.parametrize("beta", [6.0, 5.3, 40.0, 0.1, 48.0])
    def test_before_it_is_the_plain_method_bit_for_bit(self, beta: float) -> None:
        """Whatever beta, 1 is exactly 1: runs fork from the plain method's."""
        rule = CFA(COUNTS, regularised=True, beta=beta)
        class_statistics.begin(rule, 0, 40)
        weights = rule.weigh(OTHER)
        assert weights.clean.tolist() == weights.robust.tolist() == [1, 1, 1]
        assert rule.budget() == ClassBudget()


class TestRegularisation:
    def test_by_hand(self) -> None:
        """beta_c = 6 (0.5 + A) = (6, 5.25, 4.2): 7 / (1 + beta_c) on the clean term, and beta_c / 6 of it on 6 KL."""
        weights = acting(regularised=True).weigh(BATCHES[0])
        close(weights.clean, [1, 7 / 6.25, 7 / 5.2])
        close(weights.robust, [1, 0.875 * 7 / 6.25, 0.7 * 7 / 5.2])

    def test_divided_as_published(self) -> None:
        """CE / (1 + beta_c) + beta_c KL / (1 + beta_c), the KL term carrying its beta of 6 already."""
        weights = acting(regularised=True, divided=True).weigh(BATCHES[0])
        close(weights.clean, [1 / 7, 1 / 6.25, 1 / 5.2])
        close(6 * weights.robust, [6 / 7, 5.25 / 6.25, 4.2 / 5.2])

    def test_divided_before_it_begins(self) -> None:
        """CE / 7 + 6 KL / 7."""
        rule = CFA(COUNTS, regularised=True, divided=True)
        class_statistics.begin(rule, 0, 40)
        weights = rule.weigh(OTHER)
        close(weights.clean, [1 / 7] * 3)
        close(weights.robust, [1 / 7] * 3)

    def test_other_constants(self) -> None:
        """beta_c = 2 (0.3 + A) = (1.6, 1.35, 1)."""
        weights = acting(regularised=True, beta=2.0, lambda2=0.3).weigh(BATCHES[0])
        close(weights.clean, [3 / 2.6, 3 / 2.35, 3 / 2])
        close(weights.robust, [0.8 * 3 / 2.6, 0.675 * 3 / 2.35, 0.5 * 3 / 2])

    def test_margins_alone_weigh_nothing(self) -> None:
        weights = acting().weigh(BATCHES[0])
        assert weights.clean.tolist() == weights.robust.tolist() == [1, 1, 1]


def test_two_classes() -> None:
    rule = CFA(torch.tensor([9, 1]), regularised=True)
    class_statistics.begin(rule, 0, 2)
    rule.weigh(class_statistics.batch([8, 0], {Need.CORRECT: [0.5, 0.0]}))
    rule.weigh(class_statistics.batch([1, 1], {Need.CORRECT: [1.0, 1.0]}))
    class_statistics.begin(rule, 1, 2)
    close(rule.budget().epsilon, [0.5 + 5 / 9, 1.5])
    close(
        rule.weigh(class_statistics.batch([2, 0], {Need.CORRECT: [0.0, 0.0]})).clean,
        [7 / (1 + 6 * (0.5 + 5 / 9)), 7 / 10],
    )


def test_goes_on_within_an_epoch() -> None:
    """What was counted of the epoch so far is kept, and whether it acts."""
    rule = acting(regularised=True)
    rule.weigh(BATCHES[0])
    other = CFA(COUNTS, regularised=True)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    for one in (rule, other):
        one.weigh(BATCHES[1])
    close(other.budget().epsilon, [1.0, 0.875, 0.7])
    for one in (rule, other):
        class_statistics.begin(one, 3, 40)
    close(other.budget().epsilon, [1.0, 0.875, 0.7])
    assert torch.equal(rule.weigh(OTHER).clean, other.weigh(OTHER).clean)


def test_the_rows() -> None:
    """On PGD-AT the margins, on TRADES both; TRADES' beta is the recipe's, the rest the recipe's constants."""
    recipe = Recipe(beta=4.0, constants={"lambda1": "0.4", "start": "1/4"})
    rules = {name: METHODS[name].make_rule(recipe, COUNTS) for name in ("cfa-at", "cfa-trades")}
    for name, rule in rules.items():
        found = vars(rule)
        assert (found["beta"], found["lambda1"], found["lambda2"], found["start"]) == (4.0, 0.4, 0.5, 0.25)
        assert (found["regularised"], found["divided"]) == (name == "cfa-trades", False)
    published = Recipe().replace(METHODS["cfa-trades"].published, source="published")
    rule = METHODS["cfa-trades"].make_rule(published, COUNTS)
    assert vars(rule)["divided"]
    assert rule.first_epoch(200) == 0


def test_constants_out_of_range() -> None:
    with pytest.raises(InputError, match="CFA's lambda1 is above 0"):
        CFA(torch.tensor([5, 5, 5]), **{"lambda1": 0.0})
