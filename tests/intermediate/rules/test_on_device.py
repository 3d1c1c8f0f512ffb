"""Every rule at every step: no value is read on the host, and a state is plain."""

import copy

import pytest
import torch
from tests.helpers import class_statistics
from torch._subclasses.fake_tensor import FakeTensorMode

from faal.config import Recipe
from faal.intermediate.class_rule import ClassRule
from faal.intermediate.class_stats import Need, batch_stats
from faal.methods import METHODS

CLASSES = 4
COUNTS = torch.tensor([40, 40, 40, 20])
METRICS = class_statistics.metrics(
    [10, 10, 10, 5],
    clean_error=[0.1, 0.2, 0.4, 0.0],
    robust_error=[0.4, 0.3, 0.9, 0.6],
    cross_entropy=[0.3, 0.5, 1.5, 0.2],
    kl_divergence=[0.1, 0.2, 0.1, 0.4],
    confusion=[[6, 1, 4, 1], [0, 7, 3, 1], [2, 1, 1, 1], [2, 1, 2, 2]],
)
BATCH = class_statistics.batch([3, 2, 0, 5], {n: [0.5, 0.25, 0.0, 0.75] for n in Need if n != Need.PROBABILITIES})
OPTIONS = [{}, {"counted": True}, {"smoothing": 0.9}]


def made(name: str, **options: object) -> ClassRule:
    """A rule in its second epoch of two, after a batch of the first."""
    rule = METHODS[name].make_rule(Recipe(**options), COUNTS)  # type: ignore[arg-type]
    for epoch in range(2):
        class_statistics.begin(rule, epoch, 2, METRICS)
        if epoch == 0:
            logits = torch.randn(10, CLASSES, generator=torch.Generator().manual_seed(0))
            labels = torch.tensor([0, 0, 0, 1, 1, 3, 3, 3, 3, 3])
            rule.weigh(batch_stats(logits, labels, labels, CLASSES, rule.needs))
    return rule


@pytest.mark.medium
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_a_step_waits_for_nothing(name: str, options: dict[str, object]) -> None:
    """A fake tensor has no values to read."""
    rule = made(name, **options)
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits, labels = torch.empty(8, CLASSES), torch.zeros(8, dtype=torch.int64)
        budget = rule.budget()
        for factors in (budget.epsilon, budget.step_size):
            assert factors is None or factors[labels].shape == (8,)
        weights = rule.weigh(batch_stats(logits, labels, labels, CLASSES, rule.needs))
        assert weights.clean.shape == weights.robust.shape == (CLASSES,)
        terms, predicted = torch.empty(8), logits.argmax(dim=1)
        assert weights.reduce(terms, terms, labels, penalty=terms, predicted=predicted).shape == ()
        if rule.sampling is not None:
            assert rule.sampling().shape == (CLASSES,)


@pytest.mark.parametrize("name", METHODS)
def test_weights_are_single_precision_and_finite(name: str) -> None:
    """A mean over a batch in which a class is absent."""
    rule = made(name)
    logits = torch.randn(9, CLASSES, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 1, 3, 3, 3, 0, 0, 0])
    weights = rule.weigh(batch_stats(logits, labels, labels, CLASSES, rule.needs))
    for vector in (weights.clean, weights.robust):
        assert vector.dtype == torch.float32
        assert bool(vector.isfinite().all())


def test_a_state_is_tensors_and_plain_values() -> None:
    """What a checkpoint may hold; and it is enough, whatever the rule."""

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(each) for key, each in value.items())
        return isinstance(value, torch.Tensor | bool | int | float)

    for name in METHODS:
        rule, other = made(name), METHODS[name].make_rule(Recipe(), COUNTS)
        state = rule.state_dict()
        assert plain(state), name
        other.load_state_dict(copy.deepcopy(state))
        assert rule.needs == other.needs
        again = other.state_dict()
        assert str(again) == str(state), name


def test_every_vector_goes_to_the_device() -> None:
    """A step would else carry it there each time."""
    for name in METHODS:
        rule = METHODS[name].make_rule(Recipe(), COUNTS)
        assert rule.to(torch.device("meta")) is rule
        held = [vars(part) for part in (getattr(rule, "first", rule), getattr(rule, "second", rule))]
        tensors = [value for values in held for value in values.values() if isinstance(value, torch.Tensor)]
        assert {tensor.device.type for tensor in tensors} <= {"meta"}, name
