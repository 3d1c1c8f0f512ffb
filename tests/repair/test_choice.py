"""The choice among candidates."""

import numpy as np
import pytest

from faal.errors import InputError
from faal.repair.choice import BASE, choose
from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts

IMAGES = 200


def network(first: float, second: float, *, images: int = IMAGES) -> HeldOutVerdicts:
    """Robust accuracies of two classes; a network of higher accuracy is correct wherever one of lower is."""
    correct = [np.arange(images) < round(accuracy * images) for accuracy in (first, second)]
    return HeldOutVerdicts(np.repeat([0, 1], images), ["a", "b"], np.concatenate(correct))


BASE_NETWORK = network(0.8, 0.2)


def test_the_highest_sum_is_chosen() -> None:
    found = {BASE: BASE_NETWORK, "one": network(0.79, 0.3), "two": network(0.78, 0.4)}
    assert choose(found, RepairSettings(), "sum").name == "two"


def test_a_candidate_that_loses_much_on_average_is_left_out() -> None:
    found = {BASE: BASE_NETWORK, "costly": network(0.5, 0.46), "cheap": network(0.79, 0.25)}
    assert choose(found, RepairSettings(), "sum").name == "cheap"
    assert choose(found, RepairSettings(max_average_loss=0.05), "sum").name == "costly"


def test_with_a_limit_the_best_worst_class_is_chosen_within_it() -> None:
    found = {BASE: BASE_NETWORK, "even": network(0.45, 0.45), "high": network(0.8, 0.44)}
    assert choose(found, RepairSettings(max_average_loss=0.06), "sum").name == "even"
    assert choose(found, RepairSettings(max_average_loss=0.01), "sum").name == "high"


def test_the_base_is_kept_where_nothing_is_better() -> None:
    kept = choose({BASE: BASE_NETWORK, "worse": network(0.8, 0.15)}, RepairSettings(), "sum")
    assert kept.name == BASE
    assert choose({BASE: BASE_NETWORK, "equal": network(0.8, 0.2)}, RepairSettings(), "sum").name == BASE


def test_a_difference_that_few_images_show_is_no_reason() -> None:
    """One image of fifteen more in the worst class, one less elsewhere."""
    base, other = network(0.8, 0.2, images=15), network(11 / 15, 4 / 15, images=15)
    generator = np.random.default_rng(0)
    shuffled = HeldOutVerdicts(
        other.groups, other.names, np.concatenate([generator.permutation(part) for part in np.split(other.correct, 2)])
    )
    assert choose({BASE: base, "other": shuffled}, RepairSettings(max_average_loss=0.05), "sum").name == BASE


@pytest.mark.parametrize("loss", [-0.01, 1.5])
def test_a_limit_outside_its_range_is_refused(loss: float) -> None:
    with pytest.raises(InputError, match="max-average-loss"):
        RepairSettings(max_average_loss=loss)
