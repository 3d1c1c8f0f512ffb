from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.audit.misuse.conftest import Bench
from tests.audit.misuse.layers import DROPOUT, Layer, chain

from faal.audit.misuse.class_order import class_order
from faal.audit.misuse.samples import CheckResult
from faal.audit.run import audit

Array = NDArray[Any]


def answers(shares: Array, n: int | list[int], seed: int = 0) -> tuple[Array, Array]:
    """Answers and labels: of each class `n` images, answered with the numbers 0 to C - 1 in these shares (C, C)."""
    draw, size = np.random.default_rng(seed), np.broadcast_to(n, len(shares))
    given = [draw.choice(len(shares), size=k, p=row) for k, row in zip(size, shares, strict=True)]
    return np.concatenate(given).astype(np.int16), np.repeat(np.arange(len(shares)), size)


def good(num_classes: int, own: float = 0.9) -> Array:
    """Each class is answered with its own number in this share, with all others equally often."""
    rest = (1 - own) / (num_classes - 1)
    return np.full((num_classes, num_classes), rest) + (own - rest) * np.eye(num_classes)


def look(predicted: Array, labels: Array, num_classes: int = 10, seed: int = 0) -> CheckResult:
    return class_order(predicted, labels, [f"class {c}" for c in range(num_classes)], seed=seed)


def order_of(*rings: list[int], num_classes: int = 10) -> Array:
    """The permutation in which each class of a ring is answered with the number of the next."""
    order = np.arange(num_classes)
    for ring in rings:
        order[ring] = np.roll(ring, -1)
    return order


SORTED = np.argsort(np.argsort([str(c + 1) for c in range(10)]))
"""Class folders "1" to "10" as they are sorted by letter: "10" comes second."""


@pytest.mark.parametrize(
    "order",
    [order_of([3, 5]), order_of([0, 9], [3, 5, 7]), SORTED, np.random.default_rng(0).permutation(10)],
    ids=["two swapped", "a pair and a ring of three", "folders sorted by letter", "another list"],
)
def test_another_order_is_found_and_turns_the_answers_right(order: Array) -> None:
    predicted, labels = answers(good(10), 40)
    found = look(order[predicted].astype(np.int16), labels)
    assert found.figures["order"] == order.tolist()
    assert found.figures["accuracy"]["renumbered"] == (predicted == labels).mean()
    assert f"numbers {(order != np.arange(10)).sum()} classes in another order" in str(found.warning)


def test_the_sentence_names_classes_and_figures_and_says_what_to_do() -> None:
    labels = np.repeat([0, 1, 2], 20)
    predicted = np.repeat([0, 2, 0, 1], [20, 20, 1, 19])
    found = class_order(predicted, labels, ["ant", "cat", "dog"], seed=0)
    assert found.figures["accuracy"] == {"as_given": 20 / 60, "renumbered": 59 / 60}
    assert "classes, 'cat' as 'dog' (20 of 20), 'dog' as 'cat' (19 of 20):" in str(found.warning)
    assert "98.3% instead of 33.3%; number the data's classes as in its training" in str(found.warning)
    assert "learnt too little" not in str(found.warning)


def test_of_many_classes_five_are_named() -> None:
    predicted, labels = answers(good(20), 30)
    found = look((predicted + 1) % 20, labels, 20)
    assert "numbers 20 classes" in str(found.warning)
    assert str(found.warning).count("class ") == 10
    assert ", ...:" in str(found.warning)


def test_few_images_of_many_classes_are_evidence_together() -> None:
    """And a few weak classes among them hide no others."""
    predicted, labels = answers(good(100, 0.7), 6)
    order = np.random.default_rng(1).permutation(100)
    assert look(order[predicted], labels, 100).warning is not None
    assert look(predicted, labels, 100).warning is None


@pytest.mark.parametrize("size", [0, 1, 3, 40])
@pytest.mark.parametrize("order", [np.roll(np.arange(10), -1), order_of([0, 1, 2, 3, 4])], ids=["all", "five of ten"])
def test_a_class_of_few_images_or_none_hides_no_ring(order: Array, size: int) -> None:
    """It follows the others of its ring: which number it has is what they leave over."""
    for small in (0, 3):
        for seed in range(10):
            predicted, labels = answers(good(10), [size if c == small else 1000 for c in range(10)], seed)
            found = look(order[predicted].astype(np.int16), labels, seed=seed)
            assert found.figures["order"] == order.tolist()


@pytest.mark.parametrize(("num_classes", "few"), [(2, 10), (10, 14)])
def test_of_two_swapped_classes_the_small_one_needs_evidence_of_its_own(num_classes: int, few: int) -> None:
    """The large one may be taken for it without being swapped."""
    for size in (few, few - 1, 0):
        labels = np.repeat(np.arange(num_classes), [2000, size] + [2000] * (num_classes - 2))
        predicted = order_of([0, 1], num_classes=num_classes)[labels].astype(np.int16)
        assert (look(predicted, labels, num_classes).warning is not None) == (size == few)


# --- honest ----------------------------------------------------------------------------------------------------------

FELINE = np.array([[0.03, 0.72, 0.25], [0.08, 0.6, 0.32], [0.2, 0.2, 0.6]])
"""A class that is nearly always taken for the next one, which is not taken for it."""

HONEST = {
    "good": (good(10), 100),
    "20 % accurate": (good(10, 0.2), 200),
    "at chance": (good(10, 0.1), 200),
    "one class is taken for another": (FELINE, 1000),
    "one class is taken for another, which is rare": (FELINE, [3000, 2, 3000]),
    "one class is taken for another, of which there are few": (FELINE, [3000, 20, 3000]),
    "one class is taken for another, of which there is none": (FELINE, [3000, 0, 3000]),
    "always one answer": (np.tile(np.eye(10)[3], (10, 1)), 50),
    "two classes, worse than chance": (good(2, 0.4), 2000),
    "two classes, far worse than chance, few images": (good(2, 0.3), 12),
    "a class without images": (good(4), [50, 0, 50, 50]),
    "a hundred classes, few images": (good(100, 0.2), 3),
    "one image": (good(3), [1, 0, 0]),
}


@pytest.mark.parametrize("case", HONEST)
def test_of_an_honest_network_nothing_is_said(case: str) -> None:
    shares, n = HONEST[case]
    for seed in range(20):
        found = look(*answers(shares, n, seed), len(shares), seed)
        assert found.figures["order"] is None, found.warning
        assert found.figures["accuracy"]["renumbered"] == found.figures["accuracy"]["as_given"]


def test_at_the_edge_of_what_is_honest_the_alarms_are_as_rare_as_promised() -> None:
    """Two classes that are answered with each other's number exactly twice as often as with their own: 1 in 1,000."""
    shares = np.array([[0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    alarms = sum(look(*answers(shares, 100, seed), 3, seed).warning is not None for seed in range(1000))
    assert alarms <= 5  # more in 6 of 10,000 tries


def test_so_they_are_of_a_small_class() -> None:
    """One class is taken for another, which is rare and answered with either number equally often."""
    shares = np.array([[0.1, 0.8, 0.1], [0.5, 0.5, 0.0], [0.1, 0.1, 0.8]])
    alarms = sum(look(*answers(shares, [400, 30, 400], seed), 3, seed).warning is not None for seed in range(1000))
    assert alarms <= 5


def test_the_order_of_the_data_is_no_matter_of_who_is_moved() -> None:
    predicted, labels = answers(good(10), 40)
    predicted = order_of([3, 5])[predicted]
    mixed = np.random.default_rng(3).permutation(len(labels))
    assert look(predicted[mixed], labels[mixed]).figures == look(predicted, labels).figures


# --- in an audit -----------------------------------------------------------------------------------------------------


def test_nothing_else_is_said_of_the_order_and_renumbered_so_nothing_at_all(bench: Bench) -> None:
    """Of answers that are all wrong: that they are near chance, that another reading of the images raises them."""
    order = np.random.default_rng(0).permutation(10)
    given: dict[str, Any] = {"images": bench.images[:450], "labels": bench.labels[:450], "attacks": "clean"}
    moved = chain(bench.plain, Layer(lambda logits: logits[:, np.argsort(order)]))
    result = audit(moved, **given)
    (sentence,) = result.warnings
    assert "in another order than the data" in sentence
    assert result.probes["readings"]["accuracy"]["as_given"] > 0.8
    undone = chain(moved, Layer(lambda logits: logits[:, result.probes["numbering"]["order"]]))
    assert audit(undone, **given).warnings == ()


def test_other_misuse_is_said_beside_it(bench: Bench) -> None:
    swapped = chain(DROPOUT, bench.plain, Layer(lambda logits: logits[:, order_of([7, 8])]))
    order, random = audit(swapped, bench.images, bench.labels, attacks="clean").warnings
    assert "'7' as '8'" in order
    assert "differently every time" in random
