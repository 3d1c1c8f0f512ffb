"""The decision before a repair."""

import numpy as np
import pytest

from faal.errors import InputError
from faal.repair.precheck import precheck
from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts


def network(*accuracies: float, images: int = 400) -> HeldOutVerdicts:
    correct = [np.arange(images) < round(accuracy * images) for accuracy in accuracies]
    names = [f"class{c}" for c in range(len(accuracies))]
    return HeldOutVerdicts(np.repeat(np.arange(len(names)), images), names, np.concatenate(correct))


def decided(found: HeldOutVerdicts, clean: float = 0.8, **settings: bool) -> bool:
    options = RepairSettings(**settings)
    return precheck(
        found, options, num_classes=len(found.names), threat="linf epsilon 8/255", clean=lambda: clean
    ).repair


def test_an_unfair_robust_network_is_repaired() -> None:
    assert decided(network(0.7, 0.6, 0.3, 0.6))


def test_a_network_without_robustness_is_refused_unless_forced() -> None:
    with pytest.raises(InputError, match=r"not robust.*--from.*--force"):
        decided(network(0.02, 0.01, 0.0, 0.3))
    assert decided(network(0.02, 0.01, 0.0, 0.3), force=True)


def test_a_network_whose_classes_are_alike_is_left_as_it_is_unless_forced() -> None:
    alike = network(*[0.6] * 4, images=4000)
    assert not decided(alike)
    assert decided(alike, force=True)


def test_few_images_do_not_show_that_classes_are_alike() -> None:
    assert decided(network(*[0.6] * 4, images=20))


def test_a_network_that_was_not_trained_is_trained() -> None:
    assert decided(network(0.02, 0.01, 0.0, 0.3), clean=0.26)
