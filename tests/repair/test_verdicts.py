"""Verdicts on the images of the choice: accuracies, their text form, and how often one network is better."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faal.repair.verdicts import HeldOutVerdicts, scores, share_better


def verdicts(*correct: list[int]) -> HeldOutVerdicts:
    """One list of 0 and 1 for each class."""
    groups = np.concatenate([np.full(len(each), c) for c, each in enumerate(correct)])
    return HeldOutVerdicts(groups, [f"class{c}" for c in range(len(correct))], np.concatenate(correct).astype(bool))


def test_accuracies() -> None:
    found = verdicts([1, 1, 1, 0], [1, 0])
    assert found.average == pytest.approx(4 / 6)
    assert found.worst == 0.5
    assert found.accuracies.worst.name == "class1"
    assert found.n.tolist() == [4, 2]


def test_a_class_without_images_is_left_out() -> None:
    found = HeldOutVerdicts(np.array([0, 0, 2]), ["a", "b", "c"], np.array([True, False, True]))
    assert found.worst == 0.5
    assert np.isnan(found.rates[1])


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_the_text_has_every_verdict(correct: list[bool]) -> None:
    groups = np.zeros(len(correct), dtype=np.int64)
    found = HeldOutVerdicts(groups, ["a"], np.array(correct))
    assert HeldOutVerdicts.unpacked(found.packed(), groups, ["a"]).correct.tolist() == correct


@pytest.mark.parametrize("images", [8, 17, 24])
def test_text_of_another_number_of_images_is_refused(images: int) -> None:
    found = verdicts([1] * 16)
    with pytest.raises(ValueError, match="number of images"):
        HeldOutVerdicts.unpacked(found.packed(), np.zeros(images, dtype=np.int64), ["class0"])


@pytest.mark.parametrize(("rule", "expected"), [("sum", 1.0), ("average", 0.7), ("worst", 0.3)])
def test_scores(rule: str, expected: float) -> None:
    assert scores(np.array([0.3, 0.9]), 0.7, rule) == pytest.approx(expected)


def resampled(base: HeldOutVerdicts, other: HeldOutVerdicts, draws: int) -> float:
    """The oracle: images drawn with replacement, one by one."""
    generator, wins = np.random.default_rng(1), 0.0
    own = [np.flatnonzero(base.groups == c) for c in range(len(base.names))]
    for _ in range(draws):
        drawn = np.concatenate([generator.choice(each, len(each)) for each in own])
        results = [
            each.correct[drawn].mean()
            + min(each.correct[drawn][base.groups[drawn] == c].mean() for c in range(len(own)))
            for each in (base, other)
        ]
        wins += 1.0 if results[1] > results[0] + 1e-12 else 0.5 * (abs(results[1] - results[0]) <= 1e-12)
    return wins / draws


def test_the_share_of_resamples_is_that_of_a_bootstrap_image_by_image() -> None:
    base = verdicts([1] * 15 + [0] * 5, [1] * 6 + [0] * 14)
    other = verdicts([1] * 12 + [0] * 8, [1] * 9 + [0] * 11)
    assert share_better(base, other, "sum") == pytest.approx(resampled(base, other, 2000), abs=0.04)


def test_equal_networks_are_better_in_half_of_the_resamples() -> None:
    base = verdicts([1, 0, 1], [0, 1])
    assert share_better(base, base, "sum") == 0.5
