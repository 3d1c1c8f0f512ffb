"""CSR: the penalty's weights against NumPy's singular vectors, and where nothing can be decomposed."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers import class_statistics

from faal.config import Recipe
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.rules.csr import CSR
from faal.methods import METHODS

Array = NDArray[np.float64]


def rule_after(confusion: Array) -> CSR:
    rule = CSR(torch.ones(len(confusion)))
    class_statistics.begin(rule, 0, 2, class_statistics.metrics([100] * len(confusion), confusion=confusion.tolist()))
    return rule


def leading(confusion: Array) -> Array:
    """u1 v1' of the errors, scaled to [0.01, 2.01]."""
    errors = confusion * (1 - np.eye(len(confusion)))
    u, _, v = np.linalg.svd(errors)
    product = np.outer(u[:, 0], v[0])
    return np.asarray(0.01 + 2 * (product - product.min()) / (product.max() - product.min()))


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_the_weights_are_the_leading_singular_vectors(classes: int) -> None:
    """The product's sign is free of that of the vectors: it is largest where confusions are most, not least."""
    confusion = np.random.default_rng(classes).integers(0, 50, (classes, classes)).astype(float)
    confusion[1, 2] = 20 * classes
    found = rule_after(confusion).penalty
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, leading(confusion), rtol=1e-4, atol=1e-5)
    assert float(found.min()) == pytest.approx(0.01)
    assert float(found.max()) == pytest.approx(2.01)
    assert divmod(int(found.argmax()), classes) == (1, 2)


def test_by_hand() -> None:
    """M = 3 u v' with u = (0.6, 0.8, 0) and v = (0, 0, 1): classes 0 and 1 are predicted for class 2."""
    confusion = np.array([[7.0, 0, 1.8], [0, 9, 2.4], [0, 0, 5]])
    expected = np.full((3, 3), 0.01)
    expected[:, 2] += 2 * np.array([0.6, 0.8, 0]) / 0.8
    np.testing.assert_allclose(rule_after(confusion).penalty, expected, rtol=1e-5)


def test_correct_predictions_do_not_count() -> None:
    confusion = np.random.default_rng(0).integers(1, 9, (5, 5)).astype(float)
    other = confusion + np.diag([1000.0, 0, 30, 0, 7])
    assert torch.equal(rule_after(confusion).penalty, rule_after(other).penalty)


def test_the_number_of_images_does_not_matter() -> None:
    confusion = np.random.default_rng(1).integers(1, 9, (5, 5)).astype(float)
    torch.testing.assert_close(rule_after(confusion).penalty, rule_after(1000 * confusion).penalty)


@pytest.mark.parametrize("classes", [2, 10])
def test_without_errors_all_weigh_alike(classes: int) -> None:
    assert rule_after(100 * np.eye(classes)).penalty.tolist() == [[1.0] * classes] * classes


def test_two_classes() -> None:
    """M = ((0, 4), (9, 0)): the leading confusion is 1 for 0."""
    np.testing.assert_allclose(
        rule_after(np.array([[50.0, 4], [9, 50]])).penalty, [[0.01, 0.01], [2.01, 0.01]], atol=1e-6
    )


def test_two_classes_alike() -> None:
    """M = ((0, 4), (4, 0)) has no leading vector of its own; whichever is taken, the weights are numbers in range."""
    found = rule_after(np.array([[50.0, 4], [4, 50]])).penalty
    assert bool(((found >= 0.0099) & (found <= 2.0101)).all())


def test_the_penalty_is_weighed_by_prediction_and_class() -> None:
    """mean(w clean + w robust + G[prediction, class] penalty), the other terms alike."""
    rule = rule_after(np.array([[7.0, 0, 1.8], [0, 9, 2.4], [0, 0, 5]]))
    labels, predicted = torch.tensor([2, 2, 0, 1]), torch.tensor([0, 1, 0, 2])
    fit, robust, penalty = torch.tensor([1.0, 2, 3, 4]), torch.tensor([5.0, 6, 7, 8]), torch.tensor([10.0, 20, 30, 40])
    weights = rule.weigh(class_statistics.batch([1, 1, 2]))
    found = weights.reduce(fit, robust, labels, penalty=penalty, predicted=predicted)
    assert float(found) == pytest.approx((10 + 26 + 10 * 1.51 + 20 * 2.01 + 30 * 0.01 + 40 * 0.01) / 4, rel=1e-5)


def test_before_the_first_evaluation_confusions_are_alike() -> None:
    weights = CSR(torch.ones(3)).weigh(class_statistics.batch([1, 0, 2]))
    assert weights.penalty is not None
    assert weights.penalty.tolist() == [[1.0] * 3] * 3
    assert weights.clean.tolist() == weights.robust.tolist() == [1, 1, 1]


def test_its_evaluations() -> None:
    """PGD-10 on the training images before every epoch, a tenth of the true logit subtracted; nothing is withheld."""
    rule = CSR(torch.ones(3))
    assert rule.evaluation(0) == rule.evaluation(1) == EvaluationRequest(part="train", loss="ce", steps=10, shrink=0.1)
    assert not rule.steers
    own = METHODS["csr"].make_rule(Recipe(constants={"shrink": 0.25}), torch.ones(3))
    request = own.evaluation(0)
    assert request is not None
    assert request.shrink == 0.25


def test_goes_on_within_an_epoch() -> None:
    rule = rule_after(np.random.default_rng(2).integers(1, 9, (4, 4)).astype(float))
    other = CSR(torch.ones(4))
    other.load_state_dict(copy.deepcopy(rule.state_dict()))
    assert torch.equal(rule.penalty, other.penalty)
