"""Forks: the epochs before a method is active are trained once, and runs of other methods continue from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from faal import checkpoint
from faal.config import Recipe
from faal.engine import processes
from faal.errors import InputError
from faal.methods import first_epoch, method, steers
from faal.train.record import RunRecord

MAY_DIFFER = frozenset(
    {"method", "tau", "smoothing", "statistic", "counted", "constants", "average", "average_decay", "average_from"}
    | {"average_span", "average_gate", "offsets", "log_every", "checkpoint_every"}
)
"""The settings in which a fork may differ from the run that it begins from: those that are used only after it."""

LOG_CODE = {"encoding": "utf-8", "errors": "surrogateescape"}
"""Bytes of a log as text and back: a damaged log that is not UTF-8 must not stop a run."""


def fork_file(folder: Path, epoch: int) -> Path:
    """The file of a run's state at the beginning of `epoch`."""
    return folder / f"fork-{epoch:03}.pt"


def save_fork(folder: Path, epoch: int, state: Mapping[str, Any]) -> None:
    """Write a run's state at the beginning of `epoch`, with its log and best.pt. Only by the main process, if the
    file does not exist."""
    if not processes.is_main() or fork_file(folder, epoch).exists():
        return
    best, log = folder / "best.pt", folder / "metrics.jsonl"
    content = log.read_bytes()[: state["training"]["position"]["log_bytes"]] if log.exists() else b""
    chosen = checkpoint.load(best) if best.exists() else None
    checkpoint.save(fork_file(folder, epoch), {**state, "best": chosen, "log": content.decode(**LOG_CODE)})


def start_from(path: Path, out: Path, record: RunRecord, counts: Tensor) -> dict[str, Any]:
    """The training state of a fork; its log and best.pt are written into the new run's folder.

    Args:
        path: the file that `save_fork` wrote.
        out: the new run's folder.
        record: the new run's recipe, seed and data.
        counts: (C,) images of each class (or group) that it trains on.

    Returns:
        The input of `state.restore`.

    Raises:
        InputError: the file is of a run that differs in other settings.
    """
    state, recipe = checkpoint.load(path), record.recipe
    if "best" not in state or "training" not in state:
        raise InputError(f"{path} does not contain a fork of a run; runs store them as fork-EPOCH.pt")
    settings, fork_settings = recipe.plain(), Recipe().plain() | state["recipe"]
    differing = [name for name in settings if name not in MAY_DIFFER and settings[name] != fork_settings.get(name)]
    other = Recipe().replace(fork_settings, source=str(path))
    if _method_before_its_rule(other) != _method_before_its_rule(recipe):
        differing.append(f"method ({other.method}, not {_method_before_its_rule(recipe)})")
    if recipe.hold_out == "select" and steers(other) != steers(recipe):
        differing.append("the images withheld (hold_out both withholds the same from every method)")
    if state["seed"] != record.seed:
        differing.append("seed")
    if state["held_out"]["data"] != record.fingerprint:
        differing.append("data")
    epoch = state["training"]["position"]["epoch"]
    for run_recipe in (other, recipe):
        if not differing and epoch > (first := first_epoch(run_recipe, counts)):
            differing.append(
                f"the class rule of {run_recipe.method} from epoch {first} on, before the fork at epoch {epoch}"
            )
    if differing:
        raise InputError(f"{path} is of a run that differs in {', '.join(differing)}; train this run from scratch")
    if processes.is_main():
        checkpoint.write_atomically(out / "metrics.jsonl", state["log"].encode(**LOG_CODE))
        if state["best"] is not None:
            checkpoint.save(out / "best.pt", {**state["best"], "recipe": settings})
    training: dict[str, Any] = state["training"]
    return training


def _method_before_its_rule(recipe: Recipe) -> str:
    """The method to which a run is identical until its class rule is active."""
    return method(recipe.method).plain or recipe.method
