"""Moving averages of the weights (EMA), per step or per epoch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """avg <- decay avg + (1 - decay) theta, over parameters and floating-point buffers; integers are copied.

    The running statistics of BatchNorm are averaged with the weights. The first update copies.

    Args:
        model: the network to average.
        decay: in [0, 1).
        warm_up: use min(decay, (t + 1) / (t + 10)) at update t, so that the influence of random initial weights
            decreases quickly.
    """

    def __init__(self, model: nn.Module, *, decay: float, warm_up: bool) -> None:
        self.model = model
        self.decay = decay
        self.warm_up = warm_up
        self.updates = 0
        self.shadow: list[Tensor] = []

    def _tensors(self) -> list[Tensor]:
        return [tensor for _, tensor in sorted(self.model.state_dict().items())]

    @torch.no_grad()
    def update(self) -> None:
        """Add the model's current weights to the average."""
        tensors = self._tensors()
        if not self.shadow:
            self.shadow = [tensor.detach().clone() for tensor in tensors]
        else:
            decay = min(self.decay, (self.updates + 1) / (self.updates + 10)) if self.warm_up else self.decay
            pairs = list(zip(self.shadow, tensors, strict=True))
            floats = [(old, new) for old, new in pairs if old.is_floating_point()]
            torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)
            for old, new in pairs:
                if not old.is_floating_point():
                    old.copy_(new)
        self.updates += 1

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[nn.Module]:
        """The context in which the model has the averaged weights; unchanged before the first update."""
        if not self.shadow:
            yield self.model
            return
        tensors = self._tensors()
        unaveraged = [tensor.clone() for tensor in tensors]
        try:
            for tensor, averaged in zip(tensors, self.shadow, strict=True):
                tensor.copy_(averaged)
            yield self.model
        finally:
            for tensor, before in zip(tensors, unaveraged, strict=True):
                tensor.copy_(before)

    def state_dict(self) -> dict[str, Any]:
        """The averaged tensors, in the order of the sorted names."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self.updates = state["updates"]
        shadow, tensors = state["shadow"], self._tensors()
        if not shadow:  # nothing was averaged yet
            self.shadow = []
        else:
            self.shadow = [old.to(new.device) for old, new in zip(shadow, tensors, strict=True)]


class GatedAverage(WeightAverage):
    """FAWA, fairness-aware weight averaging (Wei et al., CVPR 2023): unfair epochs are excluded.

    An epoch is included if the robust accuracy of its worst class, on withheld images, reaches a threshold: by default
    that of the first evaluated epoch; an absolute threshold, as published, may never be reached.

    Args:
        model: the network to average.
        decay: in [0, 1).
        threshold: the worst-class robust accuracy needed, in [0, 1]; None for that of the first evaluated epoch.
    """

    def __init__(self, model: nn.Module, *, decay: float, threshold: float | None) -> None:
        super().__init__(model, decay=decay, warm_up=False)
        self.threshold = threshold

    def update_if_fair(self, worst: float) -> None:
        """Add the model's current weights if `worst`, its worst-class robust accuracy, reaches the threshold."""
        if self.threshold is None:
            self.threshold = worst
        if worst >= self.threshold:
            self.update()

    def state_dict(self) -> dict[str, Any]:
        """The state of the average, and the threshold."""
        return super().state_dict() | {"threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        super().load_state_dict(state)
        self.threshold = state["threshold"]
