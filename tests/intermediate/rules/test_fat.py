"""FAT: its weights against autograd's gradient of mean CE + a Var, and against the published, padded variance."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.helpers import class_statistics
from torch import Tensor

from faal.errors import InputError
from faal.intermediate.class_rule import ClassBudget, EpochStats
from faal.intermediate.class_stats import Need, batch_stats
from faal.intermediate.rules.fat import FAT


def logits_and_labels(classes: int, size: int, absent: list[int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes + size)
    present = torch.tensor([c for c in range(classes) if c not in absent])
    labels = present[torch.randint(len(present), (size,), generator=generator)]
    return 2 * torch.randn(size, classes, generator=generator, dtype=torch.float64), labels


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The class means of CE, over the classes present."""
    per_sample = F.cross_entropy(logits, labels, reduction="none")
    return torch.stack([per_sample[labels == c].mean() for c in labels.unique().tolist()])


def gradient(logits: Tensor, labels: Tensor, objective: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(objective, logits)
    return found


def found_gradient(rule: FAT, logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    weights = rule.weigh(batch_stats(logits, labels, labels, classes, rule.needs))
    loss = weights.reduce(None, F.cross_entropy(logits, labels, reduction="none"), labels)
    return gradient(logits, labels, loss)


@pytest.mark.parametrize("strength", [0.1, 3.0])
@pytest.mark.parametrize(("classes", "size", "absent"), [(2, 9, []), (10, 128, []), (10, 7, []), (6, 32, [0, 4])])
def test_the_gradient_is_that_of_the_variance(classes: int, size: int, absent: list[int], strength: float) -> None:
    """Mean CE + a Var over the classes present, unbiased."""
    logits, labels = logits_and_labels(classes, size, absent)
    logits.requires_grad_()
    expected = F.cross_entropy(logits, labels) + strength * losses_of(logits, labels).var()
    found = found_gradient(FAT(torch.ones(classes), strength=strength), logits, labels, classes)
    torch.testing.assert_close(found, gradient(logits, labels, expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "size", "absent"), [(2, 9, []), (10, 128, []), (6, 32, [0, 4]), (6, 5, [0, 1, 2, 3, 5])]
)
def test_padded_as_published(classes: int, size: int, absent: list[int]) -> None:
    """The variance over 100 entries, those beyond the classes present 0."""
    logits, labels = logits_and_labels(classes, size, absent)
    logits.requires_grad_()
    own = losses_of(logits, labels)
    expected = F.cross_entropy(logits, labels) + 0.1 * torch.cat([own, own.new_zeros(100 - len(own))]).var()
    found = found_gradient(FAT(torch.ones(classes), padded=100), logits, labels, classes)
    torch.testing.assert_close(found, gradient(logits, labels, expected), rtol=1e-4, atol=1e-6)


def test_by_hand() -> None:
    """Class losses 1, 2, 6 (mean 3) of 2, 1 and 5 samples among 8: 1 + 2 * 0.1 * (8 / n) (l - 3) / 2."""
    weights = FAT(torch.ones(3)).weigh(class_statistics.batch([2, 1, 5], {Need.CROSS_ENTROPY: [1.0, 2.0, 6.0]}))
    np.testing.assert_allclose(weights.robust, [1 + 0.4 * -2, 1 + 0.8 * -1, 1 + 0.16 * 3], rtol=1e-6)
    assert torch.equal(weights.clean, weights.robust)


def test_a_weight_may_be_negative() -> None:
    weights = FAT(torch.ones(2)).weigh(class_statistics.batch([1, 99], {Need.CROSS_ENTROPY: [0.1, 4.1]}))
    np.testing.assert_allclose(weights.robust, [1 - 0.2 * 100 * 2, 1 + 0.2 * (100 / 99) * 2], rtol=1e-5)


def test_fewer_than_two_classes_have_no_variance() -> None:
    weights = FAT(torch.ones(3)).weigh(class_statistics.batch([0, 6, 0], {Need.CROSS_ENTROPY: [0.0, 2.5, 0.0]}))
    assert weights.robust.tolist() == [0, 1, 0]


def test_it_keeps_nothing() -> None:
    rule = FAT(torch.ones(3))
    rule.begin_epoch(EpochStats(epoch=0, epochs=2))
    assert rule.state_dict() == {}
    assert rule.budget() == ClassBudget()
    assert rule.evaluation(0) is None


def test_constants_out_of_range() -> None:
    with pytest.raises(InputError, match="padded"):
        FAT(torch.tensor([5, 5, 5]), **{"padded": 2})
