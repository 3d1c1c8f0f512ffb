"""The state that a run needs to continue exactly: captured into a checkpoint, restored from it."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faal.engine import processes
from faal.outer.averaging import WeightAverage
from faal.step import Learner


@dataclass
class TrainingState:
    """How far a run has come."""

    epoch: int = 0
    """The epoch that the next step belongs to."""
    step: int = 0
    """The next step within it."""
    best_score: float = float("-inf")
    """Of the epoch chosen so far."""
    best_epoch: int = -1
    """That epoch."""
    log_bytes: int = 0
    """Size of metrics.jsonl."""
    seconds: float = 0.0
    """Spent on the epoch so far."""

    @property
    def saved(self) -> str:
        """What is kept when a signal ends the run here."""
        return f"saved at epoch {self.epoch}, step {self.step}"


def copied(net: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict, in the plain memory format."""
    tensors: dict[str, Tensor] = net.state_dict()
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def generator_state(device: torch.device) -> dict[str, Tensor]:
    """The state of this process's global generators, as tensors; a user's network may draw from them (dropout)."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def capture(
    progress: TrainingState, learner: Learner, average: WeightAverage, generators: list[dict[str, Tensor]]
) -> dict[str, Any]:
    """Everything that changes in a run, as tensors and plain values; `generators` of every process, by rank."""
    return {
        "position": asdict(progress),
        "net": learner.net.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "rule": learner.rule.state_dict(),
        "average": average.state_dict(),
        "generators": generators,
    }


def restore(state: dict[str, Any], learner: Learner, average: WeightAverage) -> TrainingState:
    """Restore what `capture` returned, in place; returns how far the run had come."""
    learner.net.load_state_dict(state["net"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.rule.load_state_dict(state["rule"])
    average.load_state_dict(state["average"])
    if processes.rank() < len(state["generators"]):
        own = state["generators"][processes.rank()]
        torch.set_rng_state(own["cpu"])
        if "cuda" in own and learner.numerics.device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda"], learner.numerics.device)
    return TrainingState(**state["position"])
