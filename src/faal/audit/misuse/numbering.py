"""Whether model and data number the classes alike: two may be swapped, or folders sorted as "1", "10", "2"."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from faal.audit.estimates import confusion_matrix
from faal.audit.misuse.evidence import HARDLY, Finding
from faal.audit.statistics.chance import LEVEL, exceeds
from faal.data.classwise import places_in_class
from faal.engine.seeds import generator

Answers = NDArray[np.int16]
Integers = NDArray[np.int64]

TWICE = 2 / 3
"""The share of other classes' numbers among answers that are these or the classes' own, where they are given twice as
often. Classes that are merely confused stay below: what is lost to one of them is not lost by it too."""

NEARLY = 3 / 4
"""In more of a ring's classes than this the assigned number is the answer: in all of two to four, in four of five. One
weak class among many, which is mostly taken for a third, hides no other."""

LARGE = 1 / 4
"""A class of a smaller share than this of its ring's median size says too little to be weighed like the others."""

NAMED = 5
"""Of more classes than these a sentence names so many."""


def numbering(predicted: Answers, labels: Integers, classes: Sequence[str], *, seed: int) -> Finding:
    """Look for classes that are answered with each other's numbers.

    The one-to-one assignment of numbers to classes that suits a random half of every class best falls into rings: two
    swapped classes, or several that follow one another. Each is tested on the other halves, equally many images of each
    of its large classes, those of at least `LARGE` of the ring's median size: the assigned numbers have to be given
    more than twice as often as the classes' own, by the binomial test at `LEVEL` divided by the rings. And over all
    images, in more than `NEARLY` of its classes, small ones too, the assigned number has to be given twice as often as
    the class's own, and no other more often. A small class counts among these only where the binomial test says that
    the assigned number is given more often than its own, at that level divided by the numbers that it might be; one
    without images never does.

    Where in truth the large classes of no ring are answered with the assigned numbers more than twice as often as with
    their own, or in a ring of two to four not each small one more often than with its own, the chance of a false alarm
    is at most `LEVEL`. Of a network that has hardly learnt anything that may be otherwise,
    by chance of its start: of those the sentence says so. Two swapped classes are seen from 36 images of them on, those
    of a weak network from some hundreds. No forward.

    Args:
        predicted: (N,) answers to the clean images, 0 to C - 1.
        labels: (N,) their classes, 0 to C - 1.
        classes: the C names.
        seed: the audit's.
    """
    counts = confusion_matrix(labels, predicted, len(classes))
    order = _order(predicted, labels, counts, seed)
    moved = np.flatnonzero(order != np.arange(len(classes)))
    accuracy = {
        "as_given": float((predicted == labels).mean()),
        "renumbered": float((predicted == order[labels]).mean()),
    }
    figures = {"samples": len(labels), "accuracy": accuracy, "order": order.tolist() if len(moved) else None}
    if len(moved) == 0:
        return Finding(figures=figures)
    answered = ", ".join(
        f"{classes[c]!r} as {classes[order[c]]!r} ({counts[c, order[c]]} of {counts[c].sum()})" for c in moved[:NAMED]
    ) + (", ..." if len(moved) > NAMED else "")
    weak = " (or has learnt too little to tell)" if accuracy["renumbered"] < HARDLY else ""
    return Finding(
        figures=figures,
        warning=f"Images are answered with each other's classes, {answered}: the model numbers {len(moved)} classes in "
        f"another order than the data{weak}, and its clean accuracy would be {accuracy['renumbered']:.1%} instead of "
        f"{accuracy['as_given']:.1%}; number the data's classes as in its training (folders are numbered in the order "
        "of their names), or let the model return logits[:, order] (`order` is in `probes`), and audit again.",
    )


def _order(predicted: Answers, labels: Integers, counts: Integers, seed: int) -> Integers:
    """(C,) the number that each class is answered with: another one where that is shown, else its own."""
    drawn = torch.randperm(len(labels), generator=generator("numbering", seed))
    place, own = places_in_class(torch.from_numpy(labels), drawn).numpy(), np.arange(len(counts))
    chosen = place % 2 == 0
    fit = confusion_matrix(labels[chosen], predicted[chosen], len(counts))
    # Where it makes no difference, a class keeps its own.
    assigned = linear_sum_assignment(fit * (len(counts) + 1) + np.eye(len(counts)), maximize=True)[1]

    order, rings = own.copy(), list(_rings(assigned))
    for ring in rings:
        sizes = counts[ring].sum(axis=1)
        large = sizes >= max(LARGE * float(np.median(sizes)), 1)
        equal = 2 * (sizes[large].min(initial=len(labels)) // 2)
        rows = np.flatnonzero(np.isin(labels, np.array(ring)[large]) & ~chosen & (place < equal))
        other, same = (int((predicted[rows] == number[labels[rows]]).sum()) for number in (assigned, own))
        rivals = (counts + np.diag(counts.diagonal()))[ring].max(axis=1)
        level = LEVEL / len(rings)
        shown = [
            big or exceeds(counts[c, assigned[c]], counts[c, [assigned[c], c]].sum(), 1 / 2, level / (len(counts) - 1))
            for c, big in zip(ring, large, strict=True)
        ]
        clear = (shown & (counts[ring, assigned[ring]] >= rivals)).mean() > NEARLY
        if clear and exceeds(other, other + same, TWICE, level):
            order[ring] = assigned[ring]
    return order


def _rings(assigned: Integers) -> Iterator[list[int]]:
    """The cycles of a permutation, without the classes that stay."""
    met: set[int] = set()
    for start in range(len(assigned)):
        ring, c = [], start
        while c not in met:
            met.add(c)
            ring.append(c)
            c = int(assigned[c])
        if len(ring) > 1:
            yield ring
