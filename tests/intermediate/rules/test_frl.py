"""FRL: multipliers, weights and margins by hand over two epochs; its normalised loss against a plain formula."""

import copy
import math

import numpy as np
import pytest
import torch
from tests.helpers import class_statistics
from torch import Tensor

from faal.config import Recipe, Schedule
from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget, EvaluationRequest
from faal.intermediate.rules.frl import FRL
from faal.methods import METHODS

COUNTS = torch.tensor([400, 400, 200])

# 40, 40 and 20 images. The whole errs on 4 + 12 + 4 = 20 of 100 clean and loses 12 + 24 + 6 = 42 more to the attack:
# with a tolerance of 0.05, g0 = (-0.15, 0.05, -0.05) and g1 = (-0.17, 0.13, -0.17).
FIRST = class_statistics.metrics([40, 40, 20], clean_error=[0.1, 0.3, 0.2], robust_error=[0.4, 0.9, 0.5])
# 15 and 36 of 100: g0 = (-0.1, -0.1, 0.15), g1 = (-0.21, -0.01, 0.19).
SECOND = class_statistics.metrics([40, 40, 20], clean_error=[0.1, 0.1, 0.35], robust_error=[0.3, 0.5, 0.95])


def close(found: Tensor, expected: list[float]) -> None:
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=1e-4, atol=1e-8)


def after_both(**constants: object) -> FRL:
    """Two epochs of two: the rate halves after the first."""
    rule = FRL(COUNTS, **constants)
    class_statistics.begin(rule, 0, 2, FIRST)
    class_statistics.begin(rule, 1, 2, SECOND)
    return rule


class TestMultipliers:
    def test_one_epoch_by_hand(self) -> None:
        """[0.05 g0]+, [2 * 0.05 g1]+ and 0.2 g1."""
        rule = FRL(COUNTS)
        class_statistics.begin(rule, 0, 2, FIRST)
        close(rule.clean, [0, 0.0025, 0])
        close(rule.boundary, [0, 0.013, 0])
        close(rule.margin, [-0.034, 0.026, -0.034])

    def test_two_epochs_by_hand(self) -> None:
        """With a rate of 0.025: 0.0025 - 0.0025 and 0.00375; 0.013 - 0.0005 and 0.0095; the margins keep their rate."""
        rule = after_both()
        close(rule.clean, [0, 0, 0.00375])
        close(rule.boundary, [0, 0.0125, 0.0095])
        close(rule.margin, [-0.076, 0.024, 0.004])

    def test_the_default_rate_halves_after_half_of_the_run(self) -> None:
        """40 of 80 epochs."""
        rate = FRL.__init__.__kwdefaults__["rate"]
        assert [rate.at(epoch / 80) for epoch in (0, 39, 40, 79)] == [0.05, 0.05, 0.025, 0.025]

    def test_another_tolerance_and_rates(self) -> None:
        """g0 = (-0.2, 0, -0.1) and g1 = (-0.22, 0.08, -0.22)."""
        rule = FRL(COUNTS, tolerance=0.1, rate=Schedule.constant(0.5), margin_rate=0.1)
        class_statistics.begin(rule, 0, 2, FIRST)
        close(rule.boundary, [0, 0.08, 0])
        close(rule.margin, [-0.022, 0.008, -0.022])
        np.testing.assert_allclose(rule.clean, 0, atol=1e-7)

    def test_the_limit_holds_for_each_constraint_and_not_for_the_margins(self) -> None:
        """In proportion: the clean ones come to (0, 0.2, 1.8) and are scaled to (0, 0.05, 0.45). The boundary's, a
        sixth of g1 and below the limit, stay as they are."""
        rule = FRL(COUNTS, rate=Schedule.constant(1 / 12), margin_rate=100.0)
        rule.clean = torch.tensor([0.0, 0.2 - 0.05 / 12, 1.8 + 0.05 / 12])
        class_statistics.begin(rule, 0, 2, FIRST)
        close(rule.clean, [0, 0.05, 0.45])
        close(rule.boundary, [0, 0.13 / 6, 0])
        close(rule.margin, [-17, 13, -17])

    def test_another_limit(self) -> None:
        rule = FRL(COUNTS, rate=Schedule.constant(100.0), limit=0.25)
        class_statistics.begin(rule, 0, 2, FIRST)
        close(rule.clean, [0, 0.25, 0])
        close(rule.boundary, [0, 0.25, 0])

    def test_nothing_broken_nothing_weighed(self) -> None:
        rule = FRL(COUNTS)
        class_statistics.begin(
            rule, 0, 2, class_statistics.metrics([40, 40, 20], clean_error=[0.2] * 3, robust_error=[0.5] * 3)
        )
        assert rule.clean.tolist() == rule.boundary.tolist() == [0, 0, 0]
        close(rule.weigh(class_statistics.batch([2, 2, 2])).clean, [1, 1, 1])


class TestWeights:
    def test_by_hand(self) -> None:
        """1/3 + lambda - mean lambda: (0.33208333, 0.33208333, 0.33583333) clean and (0.326, 0.3385, 0.3355) robust.

        A batch of 4, 1, 1: the weights of its samples sum to 1.99625 and 1.978; six over that.
        """
        weights = after_both().weigh(class_statistics.batch([4, 1, 1]))
        close(weights.clean, [w * 6 / 1.99625 for w in (0.33208333, 0.33208333, 0.33583333)])
        close(weights.robust, [w * 6 / 1.978 for w in (0.326, 0.3385, 0.3355)])

    def test_the_loss_is_the_sum_of_two_weighted_means(self) -> None:
        """sum(CE w0_y) / sum(w0_y) + beta sum(KL w1_y) / sum(w1_y), one sample after another."""
        rule = after_both(rate=Schedule.constant(2.0))
        labels = torch.tensor([0, 2, 2, 1, 0, 0, 2])
        generator = torch.Generator().manual_seed(1)
        fit, divergence = torch.rand(7, generator=generator), torch.rand(7, generator=generator)
        counts = torch.bincount(labels, minlength=3).tolist()
        found = rule.weigh(class_statistics.batch(counts)).reduce(fit, 1.5 * divergence, labels)
        sums = [0.0] * 4
        for y, ce, kl in zip(labels.tolist(), fit.tolist(), divergence.tolist(), strict=True):
            w0, w1 = (1 / 3 + float(m[y]) - float(m.sum()) / 3 for m in (rule.clean, rule.boundary))
            sums = [s + add for s, add in zip(sums, (ce * w0, w0, kl * w1, w1), strict=True)]
        assert float(found) == pytest.approx(sums[0] / sums[1] + 1.5 * sums[2] / sums[3], rel=1e-5)

    def test_an_absent_class_changes_nothing_for_the_others(self) -> None:
        """A batch of one class alone has the plain loss, whatever its weight."""
        weights = after_both().weigh(class_statistics.batch([0, 0, 5]))
        assert bool(weights.clean.isfinite().all())
        assert float(weights.clean[2]) == pytest.approx(1)
        assert float(weights.robust[2]) == pytest.approx(1)

    def test_two_classes(self) -> None:
        """20 of 40 err: g0 = (-0.3, 0.2), so that 0.05 * 0.2 = 0.01 gives 0.495 and 0.505."""
        rule = FRL(torch.tensor([5, 5]))
        class_statistics.begin(
            rule, 0, 4, class_statistics.metrics([20, 20], clean_error=[0.25, 0.75], robust_error=[0.5, 1.0])
        )
        close(rule.weigh(class_statistics.batch([3, 3])).clean, [0.99, 1.01])
        close(rule.weigh(class_statistics.batch([3, 3])).robust, [1, 1])


class TestMargins:
    def test_by_hand(self) -> None:
        """exp(2 lambda2) = (0.859, 1.04917, 1.00803), at least 0.98; the step is the largest epsilon's."""
        budget = after_both(margins=True).budget()
        assert budget.epsilon is not None
        assert budget.step_size is not None
        close(budget.epsilon, [0.98, math.exp(0.048), math.exp(0.008)])
        close(budget.step_size, [math.exp(0.048)] * 3)

    def test_at_most_three(self) -> None:
        """With ten in the place of 0.2: lambda2 = (-3.8, 1.2, 0.2)."""
        budget = after_both(margins=True, margin_rate=10.0).budget()
        assert budget.epsilon is not None
        close(budget.epsilon, [0.98, 3, math.exp(0.4)])

    def test_reweighting_alone_leaves_the_budget(self) -> None:
        assert after_both().budget() == ClassBudget()


def test_it_looks_before_every_epoch() -> None:
    """Clean and PGD-20 errors on the withheld part."""
    rule = FRL(COUNTS)
    assert rule.steers
    assert rule.evaluation(0) == rule.evaluation(7) == EvaluationRequest(part="steer", loss="ce", steps=20)
    assert rule.first_epoch(80) == 0


def test_goes_on_within_an_epoch() -> None:
    """Restored after the evaluation: the same weights now, the same multipliers at the next."""
    rule = FRL(COUNTS, margins=True)
    class_statistics.begin(rule, 0, 2, FIRST)
    other = FRL(COUNTS, margins=True)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    for one in (rule, other):
        class_statistics.begin(one, 1, 2, SECOND)
    batch = class_statistics.batch([1, 2, 3])
    assert torch.equal(rule.weigh(batch).clean, other.weigh(batch).clean)
    assert torch.equal(rule.weigh(batch).robust, other.weigh(batch).robust)
    assert torch.equal(rule.margin, other.margin)


def test_the_rows() -> None:
    """RW leaves epsilon alone, RWRM does not; neither has a setting for it. Beta belongs to the objective."""
    reweights, remargins = (METHODS[name].make_rule(Recipe(), COUNTS) for name in ("frl-rw", "frl-rwrm"))
    assert isinstance(reweights, FRL)
    assert isinstance(remargins, FRL)
    assert (reweights.margins, remargins.margins) == (False, True)
    assert set(METHODS["frl-rw"].constants) == {"tolerance", "rate", "limit"}
    assert set(METHODS["frl-rwrm"].constants) == {"tolerance", "rate", "margin_rate", "limit"}


@pytest.mark.parametrize("limit", [-0.1, 1.0, 3.0])
def test_multipliers_that_would_turn_a_weight_are_refused(limit: float) -> None:
    """At 1 a batch may sum to 0, above 1 a class that is alone in it would be maximised."""
    with pytest.raises(InputError, match="FRL's limit"):
        FRL(COUNTS, limit=limit)
