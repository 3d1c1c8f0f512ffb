from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.audit.misuse.conftest import Bench
from tests.audit.misuse.layers import DROPOUT, Layer, chain

from faal.audit.misuse import class_order as module
from faal.audit.misuse.class_order import class_order
from faal.audit.misuse.samples import CheckResult
from faal.audit.run import audit
from faal.confusion import Confusion

Array = NDArray[Any]


def predictions(shares: Array, n: int | list[int], seed: int = 0) -> tuple[Array, Array]:
    """Predictions and labels: of each class `n` images, predicted as the classes in these shares (C, C)."""
    draw, size = np.random.default_rng(seed), np.broadcast_to(n, len(shares))
    given = [draw.choice(len(shares), size=k, p=row) for k, row in zip(size, shares, strict=True)]
    return np.concatenate(given).astype(np.int16), np.repeat(np.arange(len(shares)), size)


def good(num_classes: int, own: float = 0.9) -> Array:
    """Each class is predicted correctly in this share, as all others equally often."""
    rest = (1 - own) / (num_classes - 1)
    return np.full((num_classes, num_classes), rest) + (own - rest) * np.eye(num_classes)


def check(predicted: Array, labels: Array, num_classes: int = 10, seed: int = 0) -> CheckResult:
    return class_order(predicted, labels, [f"class {c}" for c in range(num_classes)], seed=seed)


def order_of(*cycles: list[int], num_classes: int = 10) -> Array:
    """The permutation in which each class of a cycle is predicted as the next."""
    order = np.arange(num_classes)
    for cycle in cycles:
        order[cycle] = np.roll(cycle, -1)
    return order


SORTED = np.argsort(np.argsort([str(c + 1) for c in range(10)]))
"""Class folders "1" to "10" as they are sorted by letter: "10" comes second."""


@pytest.mark.parametrize(
    "order",
    [order_of([3, 5]), order_of([0, 9], [3, 5, 7]), SORTED, np.random.default_rng(0).permutation(10)],
    ids=["two swapped", "a pair and a cycle of three", "folders sorted by letter", "another list"],
)
def test_another_order_is_found_and_corrects_the_predictions(order: Array) -> None:
    predicted, labels = predictions(good(10), 40)
    found = check(order[predicted].astype(np.int16), labels)
    assert found.values["order"] == order.tolist()
    assert found.values["accuracy"]["renumbered"] == (predicted == labels).mean()
    assert f"numbers {(order != np.arange(10)).sum()} classes in another order" in str(found.warning)


def test_the_warning_names_classes_figures_and_what_to_do() -> None:
    labels = np.repeat([0, 1, 2], 20)
    predicted = np.repeat([0, 2, 0, 1], [20, 20, 1, 19])
    found = class_order(predicted, labels, ["ant", "cat", "dog"], seed=0)
    assert found.values["accuracy"] == {"as_given": 20 / 60, "renumbered": 59 / 60}
    assert "as each other, 'cat' as 'dog' (20 of 20), 'dog' as 'cat' (19 of 20):" in str(found.warning)
    assert "98.3% instead of 33.3%; number the data's classes as in its training" in str(found.warning)
    assert "is not trained enough" not in str(found.warning)


def test_of_many_classes_five_are_named() -> None:
    predicted, labels = predictions(good(20), 30)
    found = check((predicted + 1) % 20, labels, 20)
    assert "numbers 20 classes" in str(found.warning)
    assert str(found.warning).count("class ") == 10
    assert ", ...:" in str(found.warning)


def test_few_images_of_many_classes_are_evidence_together() -> None:
    """And a few weak classes among them hide no others."""
    predicted, labels = predictions(good(100, 0.7), 6)
    order = np.random.default_rng(1).permutation(100)
    assert check(order[predicted], labels, 100).warning is not None
    assert check(predicted, labels, 100).warning is None


@pytest.mark.parametrize("size", [0, 1, 3, 40])
@pytest.mark.parametrize("order", [np.roll(np.arange(10), -1), order_of([0, 1, 2, 3, 4])], ids=["all", "five of ten"])
def test_a_class_of_few_images_or_none_hides_no_cycle(order: Array, size: int) -> None:
    """It follows the others of its cycle: its assigned class is the one that remains."""
    for small in (0, 3):
        for seed in range(10):
            predicted, labels = predictions(good(10), [size if c == small else 1000 for c in range(10)], seed)
            found = check(order[predicted].astype(np.int16), labels, seed=seed)
            assert found.values["order"] == order.tolist()


@pytest.mark.parametrize(("num_classes", "few"), [(2, 10), (10, 14)])
def test_of_two_swapped_classes_the_small_one_needs_evidence_of_its_own(num_classes: int, few: int) -> None:
    """The large one may be predicted as it without being swapped."""
    for size in (few, few - 1, 0):
        labels = np.repeat(np.arange(num_classes), [2000, size] + [2000] * (num_classes - 2))
        predicted = order_of([0, 1], num_classes=num_classes)[labels].astype(np.int16)
        assert (check(predicted, labels, num_classes).warning is not None) == (size == few)


# --- many classes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("samples", [1, 30, 300])
def test_of_many_classes_the_assignment_is_as_good_without_the_zeros(
    accuracy: float, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permutation with the same sum of counts, and among equal ones as many classes assigned to themselves."""
    for seed in range(20):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, 40, samples)
        predicted = np.where(draw.random(samples) < accuracy, labels, draw.integers(0, 40, samples))
        fit = Confusion.of(labels, predicted, 40)
        found = []
        for many in (41, 40):
            monkeypatch.setattr(module, "MANY", many)
            assigned = module._assignment(fit.counts)
            assert sorted(assigned) == list(range(40))
            found.append((sum(fit[c][p] for c, p in enumerate(assigned)), (assigned == np.arange(40)).sum()))
        assert found[0] == found[1]


@pytest.mark.parametrize("order", [order_of([3, 5]), order_of([0, 9], [3, 5, 7]), SORTED])
def test_of_many_classes_another_order_is_found_too(order: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 2)
    predicted, labels = predictions(good(10), 40)
    assert check(order[predicted].astype(np.int16), labels).values["order"] == order.tolist()
    assert check(predicted, labels).values["order"] is None


# --- honest ----------------------------------------------------------------------------------------------------------

FELINE = np.array([[0.03, 0.72, 0.25], [0.08, 0.6, 0.32], [0.2, 0.2, 0.6]])
"""A class that is nearly always predicted as the next one, which is not predicted as it."""

HONEST = {
    "good": (good(10), 100),
    "20 % accurate": (good(10, 0.2), 200),
    "at chance": (good(10, 0.1), 200),
    "one class is predicted as another": (FELINE, 1000),
    "one class is predicted as another, which is rare": (FELINE, [3000, 2, 3000]),
    "one class is predicted as another, of which there are few": (FELINE, [3000, 20, 3000]),
    "one class is predicted as another, of which there is none": (FELINE, [3000, 0, 3000]),
    "always one prediction": (np.tile(np.eye(10)[3], (10, 1)), 50),
    "two classes, worse than chance": (good(2, 0.4), 2000),
    "two classes, far worse than chance, few images": (good(2, 0.3), 12),
    "a class without images": (good(4), [50, 0, 50, 50]),
    "a hundred classes, few images": (good(100, 0.2), 3),
    "one image": (good(3), [1, 0, 0]),
}


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_network_has_no_warning(case: str) -> None:
    shares, n = HONEST[case]
    for seed in range(20):
        found = check(*predictions(shares, n, seed), len(shares), seed)
        assert found.values["order"] is None, found.warning
        assert found.values["accuracy"]["renumbered"] == found.values["accuracy"]["as_given"]


@pytest.mark.medium
def test_at_the_limit_of_honest_the_false_alarms_are_as_rare_as_stated() -> None:
    """Two classes that are predicted as each other exactly twice as often as correctly: 1 in 1,000."""
    shares = np.array([[0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    alarms = sum(check(*predictions(shares, 100, seed), 3, seed).warning is not None for seed in range(1000))
    assert alarms <= 5  # more in 6 of 10,000 tries


@pytest.mark.medium
def test_so_are_those_of_a_small_class() -> None:
    """One class is predicted as another, which is rare and predicted as either equally often."""
    shares = np.array([[0.1, 0.8, 0.1], [0.5, 0.5, 0.0], [0.1, 0.1, 0.8]])
    alarms = sum(check(*predictions(shares, [400, 30, 400], seed), 3, seed).warning is not None for seed in range(1000))
    assert alarms <= 5


def test_the_result_does_not_depend_on_the_order_of_the_data() -> None:
    predicted, labels = predictions(good(10), 40)
    predicted = order_of([3, 5])[predicted]
    mixed = np.random.default_rng(3).permutation(len(labels))
    assert check(predicted[mixed], labels[mixed]).values == check(predicted, labels).values


# --- in an audit -----------------------------------------------------------------------------------------------------


def test_another_order_has_one_warning_and_none_once_renumbered(bench: Bench) -> None:
    """Not that the accuracy is near chance, nor that another scaling of the images raises it."""
    order = np.random.default_rng(0).permutation(10)
    given: dict[str, Any] = {"images": bench.images[:450], "labels": bench.labels[:450], "attacks": "clean"}
    moved = chain(bench.plain, Layer(lambda logits: logits[:, np.argsort(order)]))
    result = audit(moved, **given)
    (warning,) = result.warnings
    assert "in another order than the data" in warning
    assert result.probes["readings"]["accuracy"]["as_given"] > 0.8
    undone = chain(moved, Layer(lambda logits: logits[:, result.probes["numbering"]["order"]]))
    assert audit(undone, **given).warnings == ()


def test_other_misuse_has_its_own_warning(bench: Bench) -> None:
    swapped = chain(DROPOUT, bench.plain, Layer(lambda logits: logits[:, order_of([7, 8])]))
    order, random = audit(swapped, bench.images, bench.labels, attacks="clean").warnings
    assert "'7' as '8'" in order
    assert "differ from call to call" in random
