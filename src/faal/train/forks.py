"""Forks: the part of a run before its method acts is trained once, and runs of other methods begin at its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faal import checkpoint
from faal.errors import InputError

MAY_DIFFER = frozenset(
    {"method", "tau", "smoothing", "statistic", "counted", "constants", "average", "average_decay", "average_from"}
    | {"average_span", "average_gate", "log_every", "checkpoint_every"}
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


def begin_from(path: Path, out: Path, *, recipe: dict[str, Any], seed: int, data: str) -> dict[str, Any]:
    """The training state of a fork, its log and its choice written into the new run's folder.

    Args:
        path: the file that `keep_fork` wrote.
        out: the new run's folder.
        recipe: the new run's recipe, as plain values.
        seed: the new run's seed.
        data: the fingerprint of its training set.

    Raises:
        InputError: the file is of a run that differs in more than what acts from the fork on.
    """
    state = checkpoint.load(path)
    if "best" not in state or "training" not in state:
        raise InputError(f"{path} holds no fork of a run; runs keep them as fork-EPOCH.pt")
    other = state["recipe"]
    differing = [name for name in recipe if name not in MAY_DIFFER and recipe[name] != other.get(name)]
    if state["seed"] != seed:
        differing.append("seed")
    if state["held_out"]["data"] != data:
        differing.append("data")
    if differing:
        raise InputError(
            f"{path} is of a run that differs in {', '.join(differing)}; train this one from its beginning"
        )
    checkpoint.write_whole(out / "metrics.jsonl", state["log"].encode())
    if state["best"] is not None:
        checkpoint.save(out / "best.pt", {**state["best"], "recipe": recipe})
    training: dict[str, Any] = state["training"]
    return training
