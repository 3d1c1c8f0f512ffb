"""Short trials of a fine-tune's settings, for a network that no recipe was made for."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from faal.config import Recipe, Schedule
from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts, scores

FOLDER = "trials"

RATES = (1.0, 0.3, 0.1, 0.03)
"""Factors of the learning rate."""

RADII = (0.5, 2.0)
"""Factors of tau, at the best rate."""

PART = 8
"""A trial is one epoch of one in 8 training images, and of `STEPS` batches at the least."""

STEPS = 50


def fitting_batch(recipe: Recipe, images: int) -> Recipe:
    """The recipe with batches of which an epoch of `images` has 50 or more."""
    return replace(recipe, batch_size=min(recipe.batch_size, max(8, images // STEPS)))


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """A schedule times a factor."""
    return Schedule(schedule.starts, tuple(factor * value for value in schedule.values))


def tried(
    recipe: Recipe,
    images: int,
    base: HeldOutVerdicts,
    settings: RepairSettings,
    rule: str,
    out: Path,
    trial: Callable[[Recipe, Path], HeldOutVerdicts],
) -> tuple[Recipe, list[dict[str, Any]]]:
    """The recipe with the learning rate and the tau of the best trial, and a record of all trials.

    The best trial has the highest score among those that lose at most `settings.largest_loss` on average; where all
    lose more, it is the one that loses least.

    Args:
        recipe: the fine-tune's.
        images: how many there are to train on.
        base: the base's verdicts.
        settings: the repair's.
        rule: the score.
        out: the repair's folder; the trials' folders are in it, and are removed at the end.
        trial: fine-tunes the base by a recipe in a folder, and returns the result's verdicts.
    """
    limit = min(images, max(images // PART, STEPS * recipe.batch_size))
    done: list[tuple[Recipe, HeldOutVerdicts, dict[str, Any]]] = []

    def run(rate: float, radius: float) -> None:
        changed = replace(recipe, lr=scaled(recipe.lr, rate), tau=scaled(recipe.tau, radius))
        found = trial(replace(changed, epochs=1, limit=limit), out / FOLDER / f"lr-{rate:g}-tau-{radius:g}")
        entry = {"lr": rate, "tau": radius, "average": found.average, "worst": found.worst}
        done.append((changed, found, entry))

    def best() -> tuple[Recipe, HeldOutVerdicts, dict[str, Any]]:
        def key(entry: tuple[Recipe, HeldOutVerdicts, dict[str, Any]]) -> tuple[bool, float]:
            found = entry[1]
            allowed = base.average - found.average <= settings.largest_loss
            return allowed, float(scores(np.asarray(found.rates), found.average, rule if allowed else "average"))

        return max(done, key=key)

    for rate in RATES:
        run(rate, 1.0)
    rate = best()[2]["lr"]
    for radius in RADII:
        run(rate, radius)
    chosen = best()
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    return chosen[0], [entry | {"chosen": entry is chosen[2]} for _, _, entry in done]
