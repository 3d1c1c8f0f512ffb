"""Two rules at once: FAAL's weights on the margins, weights or batches of another."""

import copy

import numpy as np
import pytest
import torch
from tests.helpers import class_statistics, oracles

from faal.config import Recipe, Schedule
from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget
from faal.intermediate.class_stats import Need
from faal.intermediate.rules.cfa import CFA
from faal.intermediate.rules.csr import CSR
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.product import Product
from faal.intermediate.rules.wat import WAT
from faal.methods import METHODS

COUNTS = torch.tensor([60, 60])
MARGINS = [-0.4, 0.3]
BATCH = class_statistics.batch([3, 5], {Need.CORRECT: [1.0, 0.4], Need.MARGIN: MARGINS})


def cfa_and_faal() -> Product:
    return Product(CFA(COUNTS, regularised=True), FAAL(2, tau=Schedule((0.0, 0.5), (0.0, 0.5))))


def test_weights_multiply_and_margins_stay() -> None:
    """CFA after an epoch with A = (1, 0.4), in the second half of the run: beta_c = (9, 5.4)."""
    rule = cfa_and_faal()
    assert rule.needs == {Need.CORRECT, Need.MARGIN}
    class_statistics.begin(rule, 0, 2)
    plain = rule.weigh(BATCH)
    assert plain.clean.tolist() == plain.robust.tolist() == [1, 1]
    class_statistics.begin(rule, 1, 2)
    weights, budget = rule.weigh(BATCH), rule.budget()
    w = 2 * oracles.kldro(np.array(MARGINS), 0.5)
    np.testing.assert_allclose(weights.clean, w * np.array([7 / 10, 7 / 6.4]), rtol=1e-4)
    np.testing.assert_allclose(weights.robust, w * np.array([1.5 * 7 / 10, 0.9 * 7 / 6.4]), rtol=1e-4)
    np.testing.assert_allclose(budget.epsilon, [1.5, 0.9], rtol=1e-6)
    assert budget.step_size is None


def test_it_steers_and_looks_as_the_first() -> None:
    rule = Product(WAT(COUNTS), FAAL(2))
    assert rule.steers
    assert rule.evaluation(0) is None
    assert rule.evaluation(1) == WAT(COUNTS).evaluation(1)
    class_statistics.begin(
        rule, 1, 2, class_statistics.metrics([30, 10], cross_entropy=[0.5, 1.5], kl_divergence=[0.1, 0.3])
    )
    e = np.exp(0.1 * np.array([1.1, 3.3, 1.65]))
    w = 2 * e / e.sum()
    expected = (w[:2] + w[2]) * 2 * oracles.kldro(np.array(MARGINS), 0.5)
    np.testing.assert_allclose(rule.weigh(BATCH).robust, expected, rtol=1e-4)
    assert rule.budget() == ClassBudget()


def test_a_penalty_passes() -> None:
    rule = Product(CSR(COUNTS), FAAL(2))
    class_statistics.begin(rule, 0, 2, class_statistics.metrics([10, 10], confusion=[[5, 4], [9, 5]]))
    penalty = rule.weigh(BATCH).penalty
    assert penalty is not None
    np.testing.assert_allclose(penalty, [[0.01, 0.01], [2.01, 0.01]], atol=1e-6)


def test_it_begins_with_the_earlier() -> None:
    late, early = Schedule((0.0, 0.5), (0.0, 0.5)), Schedule((0.0, 0.05), (0.0, 0.5))
    assert Product(CFA(COUNTS), FAAL(2, tau=late)).first_epoch(40) == 1
    assert Product(CFA(COUNTS, start=0.75), FAAL(2, tau=late)).first_epoch(40) == 20
    assert Product(CFA(COUNTS, start=0.75), FAAL(2, tau=early)).first_epoch(40) == 2


def test_goes_on_within_an_epoch() -> None:
    rule, other = cfa_and_faal(), cfa_and_faal()
    for epoch in (0, 1):
        class_statistics.begin(rule, epoch, 2)
        rule.weigh(BATCH)
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    found, expected = other.weigh(BATCH), rule.weigh(BATCH)
    assert torch.equal(found.clean, expected.clean)
    assert torch.equal(found.robust, expected.robust)
    epsilons = [one.budget().epsilon for one in (rule, other)]
    assert all(epsilon is not None for epsilon in epsilons)
    assert torch.equal(*epsilons)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["faal-cfa-at", "faal-cfa-trades", "faal-dafa", "faal-wat"])
def test_the_rows(name: str) -> None:
    """The other rule as its own row makes it, FAAL from the recipe; constants are the other's."""
    recipe = Recipe(
        method=name, tau=Schedule.constant(0.3), constants={"eta": 0.7} if name == "faal-wat" else {"start": 0.25}
    )
    rule = METHODS[name].make_rule(recipe, COUNTS)
    alone = METHODS[name.removeprefix("faal-")].make_rule(recipe, COUNTS)
    assert isinstance(rule, Product)
    assert isinstance(rule.second, FAAL)
    assert type(rule.first) is type(alone)
    assert rule.second.tau == 0.3
    settings = {key: value for key, value in vars(alone).items() if not isinstance(value, torch.Tensor)}
    assert settings == {key: vars(rule.first)[key] for key in settings}
    assert METHODS[name].steers == METHODS[name.removeprefix("faal-")].steers
    with pytest.raises(InputError, match=rf"no constant of {name} 'ball'"):
        METHODS[name].make_rule(recipe.replace({"constants": "ball=chi2"}, source="test"), COUNTS)
