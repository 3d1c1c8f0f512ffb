"""What a run needs to go on exactly: captured into a checkpoint, restored from it."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from faal.outer.averaging import WeightAverage
from faal.step import Learner


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 0
    """The epoch that the next step belongs to."""
    step: int = 0
    """The next step within it."""
    best_score: float = float("-inf")
    """Score of the epoch kept so far."""
    best_epoch: int = -1
    """That epoch."""
    log_bytes: int = 0
    """Size of metrics.jsonl."""


def capture(position: Position, learner: Learner, average: WeightAverage) -> dict[str, Any]:
    """Everything that changes in a run, as tensors and plain values. Generator states are tensors too."""
    return {
        "position": asdict(position),
        "net": learner.net.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "rule": learner.rule.state_dict(),
        "average": average.state_dict(),
        "generator": torch.get_rng_state(),
    }


def restore(state: dict[str, Any], learner: Learner, average: WeightAverage) -> Position:
    """Put a run back to where `capture` saw it."""
    learner.net.load_state_dict(state["net"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.rule.load_state_dict(state["rule"])
    average.load_state_dict(state["average"])
    torch.set_rng_state(state["generator"])
    return Position(**state["position"])
