"""Trials of settings: which are run, and which is chosen."""

from pathlib import Path

import numpy as np

from faal.config import Recipe, Schedule
from faal.repair.settings import RepairSettings
from faal.repair.trials import RADII, RATES, fitting_batch, tried
from faal.repair.verdicts import HeldOutVerdicts


def network(average: float, worst: float, images: int = 100) -> HeldOutVerdicts:
    accuracies = (2 * average - worst, worst)
    correct = [np.arange(images) < round(accuracy * images) for accuracy in accuracies]
    return HeldOutVerdicts(np.repeat([0, 1], images), ["a", "b"], np.concatenate(correct))


RECIPE = Recipe(method="faal-at", lr=Schedule((0.0, 0.5), (0.01, 0.001)), batch_size=50)
BASE = network(0.6, 0.3)


def run(folder: Path, results: dict[tuple[float, float], HeldOutVerdicts]) -> tuple[Recipe, list[Recipe]]:
    """The chosen recipe, and those that were tried; `results` by rate and tau, one that loses much for all others."""
    seen = []

    def trial(recipe: Recipe, out: Path) -> HeldOutVerdicts:
        seen.append(recipe)
        return results.get((round(recipe.lr.values[0], 6), recipe.tau.values[0]), network(0.3, 0.1))

    chosen, _ = tried(RECIPE, 8000, BASE, RepairSettings(tune=True), "sum", folder, trial)
    return chosen, seen


def test_each_trial_is_one_epoch_of_a_part_of_the_images(tmp_path: Path) -> None:
    _, seen = run(tmp_path, {})
    assert len(seen) == len(RATES) + len(RADII)
    assert {(recipe.epochs, recipe.limit) for recipe in seen} == {(1, 2500)}  # 50 batches of 50


def test_the_best_rate_then_the_best_tau_at_that_rate(tmp_path: Path) -> None:
    results = {(0.003, 0.5): network(0.6, 0.4), (0.001, 0.5): network(0.6, 0.35), (0.003, 1.0): network(0.6, 0.45)}
    chosen, _ = run(tmp_path, results)
    assert (round(chosen.lr.values[0], 6), round(chosen.lr.values[1], 6)) == (0.003, 0.0003)
    assert chosen.tau.values == (1.0,)
    assert (chosen.epochs, chosen.limit) == (RECIPE.epochs, RECIPE.limit)


def test_where_all_lose_much_the_one_that_loses_least_is_chosen(tmp_path: Path) -> None:
    chosen, _ = run(tmp_path, {(0.0003, 0.5): network(0.5, 0.2)})
    assert round(chosen.lr.values[0], 6) == 0.0003


def test_an_epoch_has_fifty_batches() -> None:
    assert fitting_batch(RECIPE, 100_000).batch_size == 50
    assert fitting_batch(RECIPE, 1_000).batch_size == 20
    assert fitting_batch(RECIPE, 60).batch_size == 8
