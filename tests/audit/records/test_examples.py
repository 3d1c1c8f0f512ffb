import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faal.audit.records.examples import Examples, as_bytes, select_examples, select_rows


def made(index: list[int], label: list[int], attack: str = "pgd20") -> Examples:
    count = len(index)
    return Examples(
        index=np.array(index, dtype=np.int64),
        original=np.zeros((count, 1, 2, 2), np.uint8),
        adversarial=np.ones((count, 1, 2, 2), np.uint8),
        label=np.array(label, dtype=np.int64),
        clean_predicted=np.array(label, dtype=np.int16),
        adversarial_predicted=np.array(label, dtype=np.int16) + np.int16(1),
        attack=np.full(count, attack),
    )


def test_images_become_the_nearest_bytes() -> None:
    assert as_bytes(torch.tensor([0.0, 1.0, 0.5, 1.4 / 255, 1.6 / 255])).tolist() == [0, 255, 128, 1, 2]


def test_first_of_every_class_then_the_second() -> None:
    label, index = np.array([1, 0, 0, 0, 0, 2]), np.array([9, 8, 3, 5, 1, 7])
    # Class 0 in order of index: places 4 (1), 2 (3), 3 (5), 1 (8).
    assert select_rows(label, index, per_class=3, total=24).tolist() == [4, 2, 3, 0, 5]
    assert select_rows(label, index, per_class=3, total=4).tolist() == [4, 2, 0, 5]
    assert select_rows(label, index, per_class=1, total=24).tolist() == [4, 0, 5]
    assert select_rows(label[:0], index[:0]).tolist() == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=80), st.integers(1, 4))
def test_choosing_in_parts_first_changes_nothing(label: list[int], parts: int) -> None:
    everything = made(list(range(len(label))), label)
    whole = select_examples([everything])
    shares = [select_examples([everything.take(np.arange(part, len(label), parts))]) for part in range(parts)]
    again = select_examples([share for share in shares if share is not None])
    if whole is None:
        assert not label
        assert again is None
    else:
        assert again is not None
        assert again.index.tolist() == whole.index.tolist()
        assert len(whole) <= 24
        assert max(np.bincount(whole.label)) <= 3


def test_a_sample_turned_twice_is_shown_as_the_first_attack_turned_it() -> None:
    found = select_examples([made([4, 2], [0, 1], "pgd20"), made([2, 7], [1, 1], "cw20")])
    assert found is not None
    assert found.index.tolist() == [4, 2, 7]
    assert found.attack.tolist() == ["pgd20", "pgd20", "cw20"]


def test_nothing_to_show() -> None:
    assert select_examples([]) is None
    assert select_examples([made([], [])]) is None
