"""The state that a run needs to continue exactly: captured into a checkpoint, restored from it."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from faal import checkpoint
from faal.engine import processes
from faal.errors import InputError, first_line
from faal.outer.averaging import WeightAverage
from faal.step import Learner


@dataclass
class TrainingState:
    """The progress of a run."""

    epoch: int = 0
    """The epoch of the next step."""
    step: int = 0
    """The next step in the epoch."""
    best_score: float = float("-inf")
    """The best score so far."""
    best_epoch: int = -1
    """The epoch of the best score."""
    log_bytes: int = 0
    """Size of metrics.jsonl."""
    seconds: float = 0.0
    """Seconds spent on the epoch so far."""
    logged: dict[str, Any] = field(default_factory=dict)
    """The state of the log's means over the epoch so far; empty for few classes."""

    @property
    def saved(self) -> str:
        """The message when a signal stops the run here."""
        return f"saved at epoch {self.epoch}, step {self.step}"


def copied(net: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict, in the contiguous memory format."""
    tensors: dict[str, Tensor] = net.state_dict()
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def generator_state(device: torch.device) -> dict[str, Tensor]:
    """The state of this process's global generators, as tensors; a user's network may draw from them (dropout)."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def capture(
    progress: TrainingState, learner: Learner, average: WeightAverage, generators: list[dict[str, Tensor]]
) -> dict[str, Any]:
    """All state of a run, as tensors and plain values; `generators`: of every process, by rank."""
    position = asdict(progress)
    if not progress.logged:
        del position["logged"]
    return {
        "position": position,
        "net": learner.net.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "rule": learner.rule.state_dict(),
        "average": average.state_dict(),
        "generators": generators,
    }


def restore(state: dict[str, Any], learner: Learner, average: WeightAverage) -> TrainingState:
    """Restore the result of `capture` in place; returns the progress of the run.

    Raises:
        InputError: it is of another network or method.
    """
    try:
        learner.net.load_state_dict(state["net"])
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.rule.load_state_dict(state["rule"])
        average.load_state_dict(state["average"])
        if processes.rank() < len(state["generators"]):
            generators = state["generators"][processes.rank()]
            torch.set_rng_state(generators["cpu"])
            if "cuda" in generators and learner.numerics.device.type == "cuda":
                torch.cuda.set_rng_state(generators["cuda"], learner.numerics.device)
        return TrainingState(**state["position"])
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"the saved state does not fit this run ({first_line(error)}); choose another folder with --out"
        ) from None


class LatestState:
    """The state that a run continues from: last.pt of its folder, and previous.pt.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self.last, self.previous = folder / "last.pt", folder / "previous.pt"
        self.damaged = False

    def load(self) -> dict[str, Any] | None:
        """The content of last.pt, or, with a note on standard error, of previous.pt if last.pt is damaged; None
        without either file.

        Raises:
            InputError: last.pt is a folder, or both files are damaged.
        """
        if self.last.is_dir():
            raise InputError(f"{self.last} is a folder instead of a run's checkpoint; move it, or choose another --out")
        if not self.last.exists():
            return _load(self.previous) if self.previous.exists() else None
        try:
            return _load(self.last)
        except InputError as error:
            damage = _reason(error)
        advice = "train again, into another folder (--out)"
        if not self.previous.exists():
            raise InputError(f"{damage}, and there is no previous.pt to continue from; {advice}")
        try:
            state = _load(self.previous)
        except InputError as error:
            raise InputError(f"{damage}, and {_reason(error)}; {advice}") from None
        self.damaged = True
        if processes.is_main():
            note = f"{damage}: the run continues from previous.pt."
            Console(stderr=True).print(note, markup=False, highlight=False, soft_wrap=True)
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write last.pt; the previous one becomes previous.pt, unless it is damaged."""
        if self.last.exists() and not self.damaged:
            os.replace(self.last, self.previous)
        checkpoint.save(self.last, state)
        self.damaged = False


def _load(path: Path) -> dict[str, Any]:
    """A checkpoint that a run can continue from. Raises InputError."""
    state = checkpoint.load(path)
    if "training" not in state:
        raise InputError(f"{path} is a network without the state of its training")
    return state


def _reason(error: InputError) -> str:
    """The first part of an error's message, without the advice."""
    return str(error).partition(";")[0]
