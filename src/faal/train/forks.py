"""Forks: the part of a run before its method acts is trained once, and runs of other methods begin at its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from faal import checkpoint
from faal.config import Recipe
from faal.engine import processes
from faal.errors import InputError
from faal.methods import first_epoch, method, steers

MAY_DIFFER = frozenset(
    {"method", "tau", "smoothing", "statistic", "counted", "constants", "average", "average_decay", "average_from"}
    | {"average_span", "average_gate", "offsets", "log_every", "checkpoint_every"}
)
"""The settings in which a fork may differ from the run that it begins from: those that act from the fork on."""


def fork_file(folder: Path, epoch: int) -> Path:
    """Where a run keeps its state at the beginning of `epoch`."""
    return folder / f"fork-{epoch:03}.pt"


def keep_fork(folder: Path, epoch: int, state: Mapping[str, Any]) -> None:
    """Keep a run's state, with its log and the epoch that it had chosen by then."""
    best, log = folder / "best.pt", folder / "metrics.jsonl"
    told = log.read_bytes()[: state["training"]["position"]["log_bytes"]].decode() if log.exists() else ""
    chosen = checkpoint.load(best) if best.exists() else None
    checkpoint.save(fork_file(folder, epoch), {**state, "best": chosen, "log": told})


def begin_from(path: Path, out: Path, *, recipe: Recipe, seed: int, data: str, counts: Tensor) -> dict[str, Any]:
    """The training state of a fork, its log and its choice written into the new run's folder.

    Args:
        path: the file that `keep_fork` wrote.
        out: the new run's folder.
        recipe: the new run's recipe.
        seed: the new run's seed.
        data: the fingerprint of its training set.
        counts: (C,) images of each class that it trains on.

    Raises:
        InputError: the file is of a run that differs in more than what acts from the fork on.
    """
    state = checkpoint.load(path)
    if "best" not in state or "training" not in state:
        raise InputError(f"{path} holds no fork of a run; runs keep them as fork-EPOCH.pt")
    ours, theirs = recipe.plain(), Recipe().plain() | state["recipe"]
    differing = [name for name in ours if name not in MAY_DIFFER and ours[name] != theirs.get(name)]
    other = Recipe().replace(theirs, source=str(path))
    if _beginning(other) != _beginning(recipe):
        differing.append(f"method ({other.method}, not {_beginning(recipe)})")
    if recipe.hold_out == "select" and steers(other) != steers(recipe):
        differing.append("the images withheld (hold_out both withholds the same from every method)")
    if state["seed"] != seed:
        differing.append("seed")
    if state["held_out"]["data"] != data:
        differing.append("data")
    epoch = state["training"]["position"]["epoch"]
    for each in (other, recipe):
        if not differing and epoch > (first := first_epoch(each, counts)):
            differing.append(f"what {each.method} does from epoch {first} on, as the fork is at epoch {epoch}")
    if differing:
        raise InputError(
            f"{path} is of a run that differs in {', '.join(differing)}; train this one from its beginning"
        )
    if processes.is_main():
        checkpoint.write_whole(out / "metrics.jsonl", state["log"].encode())
        if state["best"] is not None:
            checkpoint.save(out / "best.pt", {**state["best"], "recipe": ours})
    training: dict[str, Any] = state["training"]
    return training


def _beginning(recipe: Recipe) -> str:
    """The method that a run is of before its own acts."""
    return method(recipe.method).plain or recipe.method
