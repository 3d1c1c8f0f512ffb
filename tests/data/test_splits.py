"""What is withheld from training."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from faal.data import hold_out

NAMES = "abcdefghijklmnopqrstuvwxyz"


def labels_of(counts: list[int], seed: int) -> Tensor:
    """Shuffled labels with so many samples per class."""
    labels = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(200, 1200), min_size=2, max_size=6),
    seed=st.integers(0, 2**31),
    select=st.booleans(),
    steer=st.booleans(),
)
def test_parts_are_disjoint_stratified_and_complete(counts: list[int], seed: int, select: bool, steer: bool) -> None:
    labels = labels_of(counts, seed)
    held = hold_out(labels, NAMES[: len(counts)], select=select, steer=steer, seed=seed)
    assert held.reason is None
    together = torch.cat([held.train, held.select, held.steer])
    assert torch.equal(together.sort().values, torch.arange(len(labels)))
    for part in (held.train, held.select, held.steer):
        assert part.dtype == torch.int64
        assert torch.equal(part, part.sort().values)
    expected = torch.tensor([max(20, int(0.04 * count)) for count in counts])
    for part, requested in ((held.select, select), (held.steer, steer)):
        taken = torch.bincount(labels[part], minlength=len(counts))
        assert torch.equal(taken, expected * requested)


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(200, 700), min_size=2, max_size=4), seed=st.integers(0, 2**31))
def test_a_part_does_not_depend_on_the_other(counts: list[int], seed: int) -> None:
    labels = labels_of(counts, seed)
    both = hold_out(labels, NAMES[: len(counts)], select=True, steer=True, seed=seed)
    assert torch.equal(both.select, hold_out(labels, NAMES[: len(counts)], select=True, steer=False, seed=seed).select)
    assert torch.equal(both.steer, hold_out(labels, NAMES[: len(counts)], select=False, steer=True, seed=seed).steer)


def test_cifar_counts() -> None:
    held = hold_out(labels_of([5000] * 10, 0), NAMES[:10], select=True, steer=True, seed=1)
    assert (len(held.train), len(held.select), len(held.steer)) == (46_000, 2_000, 2_000)


def test_the_seed_decides() -> None:
    labels = labels_of([300, 300], 0)
    first = hold_out(labels, NAMES[:2], select=True, steer=False, seed=1)
    assert torch.equal(first.select, hold_out(labels, NAMES[:2], select=True, steer=False, seed=1).select)
    assert not torch.equal(first.select, hold_out(labels, NAMES[:2], select=True, steer=False, seed=2).select)


def test_one_small_class_and_nothing_is_held_out() -> None:
    labels = labels_of([1000, 199, 1000], 0)
    held = hold_out(labels, NAMES[:3], select=True, steer=True, seed=1)
    assert torch.equal(held.train, torch.arange(len(labels)))
    assert len(held.select) == len(held.steer) == 0
    assert held.reason is not None
    assert "class 'b' has 199 training images" in held.reason


def test_an_absent_class_counts_as_small() -> None:
    held = hold_out(labels_of([400, 400], 0), NAMES[:3], select=True, steer=False, seed=1)
    assert len(held.select) == 0
    assert held.reason is not None
    assert "class 'c' has 0 training images" in held.reason


def test_groups_are_called_groups() -> None:
    labels = labels_of([1000, 30], 0)
    reason = hold_out(labels, ["day", "night"], select=True, steer=False, seed=1, kind="group").reason
    assert str(reason).startswith("group 'night' has 30 training images, fewer than 200")


def test_no_requested_part_needs_no_reason() -> None:
    held = hold_out(labels_of([10, 10], 0), NAMES[:2], select=False, steer=False, seed=1)
    assert torch.equal(held.train, torch.arange(20))
    assert held.reason is None
