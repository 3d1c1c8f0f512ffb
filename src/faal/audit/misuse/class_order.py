"""Test whether model and data have the same order of classes: two may be swapped, or folders sorted as "1", "10",
"2"."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from faal.audit.misuse.samples import WEAK_ACCURACY, CheckResult
from faal.audit.statistics.intervals import FALSE_ALARM, exceeds
from faal.confusion import MANY, Confusion
from faal.data.classwise import ranks_in_class
from faal.engine.seeds import generator

Predictions = NDArray[np.int16]
Integers = NDArray[np.int64]

TWICE = 2 / 3
"""The fraction of assigned classes among predictions of the assigned class or the true one, if the assigned class is
predicted twice as often. Classes that are only confused are below it: confusions are not equally frequent in both
directions."""

NEARLY_ALL = 3 / 4
"""The assigned class must be the most frequent prediction in more than this fraction of a cycle's classes: in all of
two to four, in four of five. A single weak class among many, mostly predicted as a third class, does not hide
others."""

LARGE = 1 / 4
"""A class with fewer samples than this fraction of its cycle's median is small."""

MAX_NAMED = 5
"""The largest number of classes in a warning."""


def class_order(predicted: Predictions, labels: Integers, classes: Sequence[str], *, seed: int) -> CheckResult:
    """Test whether some classes are predicted as each other.

    The assignment of predicted to true classes, one to one, that fits a random half of every class best (Kuhn, 1955) is
    a permutation; its cycles are two swapped classes, or several in a cyclic order. Each cycle is tested on the
    other halves, equally many images of each of its large classes, those of at least `LARGE` of the cycle's median
    size: the assigned classes must be predicted more than twice as often as the true ones, by the binomial test at
    `FALSE_ALARM` divided by the number of cycles. And over all images, in more than `NEARLY_ALL` of the cycle's
    classes, including small ones, the assigned class must be predicted twice as often as the true one, and no other
    more often. A small class is included only if the binomial test shows that the assigned class is predicted more
    often than the true one, at that level divided by the number of other classes; one without images is not.

    The probability of a false alarm is at most `FALSE_ALARM` if in no cycle the large classes are truly predicted as
    the assigned ones more than twice as often as correctly, or in a cycle of two to four not each small one more often
    than correctly. A barely trained network may violate that because of its random initial weights, which is then part
    of the warning. Two swapped classes are detected from 36 images of them on, for a weak network from
    some hundreds. No additional forward.

    Args:
        predicted: (N,) predictions for the clean images, 0 to C - 1.
        labels: (N,) true classes, 0 to C - 1.
        classes: the C names.
        seed: of the audit.
    """
    counts = Confusion.of(labels, predicted, len(classes)).counts
    order = _order(predicted, labels, counts, seed)
    moved = np.flatnonzero(order != np.arange(len(classes)))
    accuracy = {
        "as_given": float((predicted == labels).mean()),
        "renumbered": float((predicted == order[labels]).mean()),
    }
    values = {"samples": len(labels), "accuracy": accuracy, "order": order.tolist() if len(moved) else None}
    if len(moved) == 0:
        return CheckResult(values=values)
    pairs = ", ".join(
        f"{classes[c]!r} as {classes[order[c]]!r} ({counts[c, order[c]]} of {counts[[c]].sum()})"
        for c in moved[:MAX_NAMED]
    ) + (", ..." if len(moved) > MAX_NAMED else "")
    weak = " (or is not trained enough for this test)" if accuracy["renumbered"] < WEAK_ACCURACY else ""
    return CheckResult(
        values=values,
        warning=f"Classes are predicted as each other, {pairs}: the model numbers {len(moved)} classes in another "
        f"order than the data{weak}, and its clean accuracy would be {accuracy['renumbered']:.1%} instead of "
        f"{accuracy['as_given']:.1%}; number the data's classes as in its training (folders are numbered in the order "
        "of their names), or make the model return logits[:, order] (`order` is in `probes`), and audit again.",
    )


def _order(predicted: Predictions, labels: Integers, counts: csr_array, seed: int) -> Integers:
    """(C,) the class as which each class is predicted: another one if the tests show it, else the class itself."""
    num_classes = counts.shape[0]
    random_order = torch.randperm(len(labels), generator=generator("numbering", seed))
    rank, identity = ranks_in_class(torch.from_numpy(labels), random_order).numpy(), np.arange(num_classes)
    chosen = rank % 2 == 0
    assigned = _assignment(Confusion.of(labels[chosen], predicted[chosen], num_classes).counts)

    sizes, correct, as_assigned = counts.sum(axis=1), counts.diagonal(), counts[identity, assigned]
    most = np.maximum(2 * correct, counts.max(axis=1).toarray().ravel())
    order, cycles = identity.copy(), list(_cycles(assigned))
    for cycle in cycles:
        large = sizes[cycle] >= max(LARGE * float(np.median(sizes[cycle])), 1)
        equal = 2 * (sizes[cycle][large].min(initial=len(labels)) // 2)
        rows = np.flatnonzero(np.isin(labels, np.array(cycle)[large]) & ~chosen & (rank < equal))
        assigned_count, correct_count = (
            int((predicted[rows] == number[labels[rows]]).sum()) for number in (assigned, identity)
        )
        alpha = FALSE_ALARM / len(cycles)
        shown = [
            is_large or exceeds(as_assigned[c], as_assigned[c] + correct[c], 1 / 2, alpha / (num_classes - 1))
            for c, is_large in zip(cycle, large, strict=True)
        ]
        clear = (shown & (as_assigned[cycle] >= most[cycle])).mean() > NEARLY_ALL
        if clear and exceeds(assigned_count, assigned_count + correct_count, TWICE, alpha):
            order[cycle] = assigned[cycle]
    return order


def _assignment(fit: csr_array) -> Integers:
    """(C,) the permutation with the largest sum of the counts (C, C); on ties a class is assigned to itself."""
    num_classes, identity = fit.shape[0], np.arange(fit.shape[0])
    gains = (fit * (num_classes + 1) + csr_array((np.ones_like(identity), (identity, identity)))).tocsr()
    if num_classes < MANY:
        assigned: Integers = linear_sum_assignment(gains.toarray(), maximize=True)[1]
        return assigned
    # Only pairs with a gain are matched, with minimum cost. An unmatched class is matched with a dummy of its own, at
    # the cost of no gain; the dummies of matched classes are matched with each other.
    (true, predicted), dummy, most = gains.nonzero(), num_classes + identity, gains.max() + 1
    rows, columns = (
        np.concatenate(parts, dtype=np.int32)  # SciPy's matching requires it
        for parts in (
            (true, identity, dummy, num_classes + predicted),
            (predicted, dummy, identity, num_classes + true),
        )
    )
    costs = np.concatenate([most - gains.data, np.full(len(true) + 2 * num_classes, most)])
    pairs = csr_array((costs, (rows, columns)), shape=(2 * num_classes, 2 * num_classes))
    assigned = min_weight_full_bipartite_matching(pairs)[1][:num_classes].astype(np.int64)
    assigned[assigned >= num_classes] = np.setdiff1d(identity, assigned)
    return assigned


def _cycles(assigned: Integers) -> Iterator[list[int]]:
    """The cycles of a permutation, without its fixed points."""
    visited: set[int] = set()
    for start in range(len(assigned)):
        cycle, c = [], start
        while c not in visited:
            visited.add(c)
            cycle.append(c)
            c = int(assigned[c])
        if len(cycle) > 1:
            yield cycle
