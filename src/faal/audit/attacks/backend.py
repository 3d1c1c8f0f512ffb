"""The backend that attacks run on: the network itself, or a faster copy of it.

An attack computes logits and gradients some ten thousand times per sample. `reference` computes them with the network,
in float32. `fast` computes them with a copy in bfloat16, if that is faster for this network and device, and with the
network itself where the copy's rounding could change the class. Verdicts are computed by the network in either case.
"""

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from faal.engine.numerics import MIN_BF16_OPERATIONS, multiplies_bf16, operations
from faal.errors import one_of
from faal.losses import margin

EngineName = Literal["fast", "reference"]
"""The backend that attacks run on."""

FLOAT32, BFLOAT16 = "float32", "bfloat16, channels last"

TYPICAL = 2.0
"""The network recomputes logits whose difference is below this multiple of the root mean square error."""

MAX_RELATIVE_ERROR = 0.05
"""The largest error, in units of the logits' standard deviation, up to which a copy is used."""

SAMPLES = 64
"""The number of images on which the copy's error is measured."""


@dataclass(frozen=True, eq=False)
class Engine:
    """The backend of a network's attacks.

    Attributes:
        name: `fast` or `reference`.
        form: its arithmetic, with the reason if `fast` is float32.
        fast: the copy on which attacks run; None if they run on the network.
    """

    name: EngineName
    form: str = FLOAT32
    fast: "Fast | None" = None

    def __str__(self) -> str:
        return self.name if self.name == "reference" else f"{self.name} ({self.form})"


REFERENCE = Engine("reference")


class Fast(nn.Module):
    """A network's copy in bfloat16; if its two largest logits differ by less than its error, the network computes them.

    So rounding rarely changes a predicted class: an attack stops at images that the network misclassifies, and does not
    miss those near the boundary. All gradients are those of the copy.

    Args:
        model: the network, in evaluation mode.
        images: (B, channels, H, W), some of the images to attack, on which the error is measured.

    Raises:
        UnsuitedError: the copy is not faster, or not precise enough.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        images = images[:SAMPLES]
        if not multiplies_bf16(images.device):
            raise UnsuitedError("bfloat16 is not faster on this device")
        if operations(model, images) < MIN_BF16_OPERATIONS:
            raise UnsuitedError("the network is too small to be faster in bfloat16")
        self.model = model
        try:
            self.copy = _Bfloat16(model)
            error, spread = _error(self.copy, model, images)
        except torch.OutOfMemoryError:
            raise
        except Exception as failure:  # a user's network may fail with any error
            raise UnsuitedError(f"bfloat16 fails with {type(failure).__name__}") from failure
        if not error <= MAX_RELATIVE_ERROR * spread:  # NaN as well
            raise UnsuitedError("bfloat16 is not precise enough for the network")
        self.tolerance = TYPICAL * error

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, C), float32."""
        logits: Tensor = self.copy(images)
        with torch.no_grad():
            first, second = logits.topk(2, dim=1).values.unbind(1)
            close = first - second < self.tolerance
            if not close.any():
                return logits
            exact = logits.clone()
            exact[close] = self.model(images.detach()[close])
        # The network's value with the copy's gradient.
        return exact + (logits - logits.detach()) if logits.requires_grad else exact

    @torch.no_grad()
    def needs_repeat(self, images: Tensor, labels: Tensor) -> Tensor:
        """(B,) bool: whether an attack may have stopped at these images because the copy misclassifies them, or almost,
        while the network predicts them correctly.

        Rounding may differ between batches; so the margin is twice that at which the network recomputes logits.
        """
        correct: Tensor = self.model(images).argmax(dim=1) == labels
        return correct & (margin(self.copy(images), labels) > -2 * self.tolerance)


class UnsuitedError(Exception):
    """The reason why a network is not run in bfloat16, which is recorded."""


class _Bfloat16(nn.Module):
    """A copy of `model` whose products are bfloat16, in the memory format that is fastest for convolutions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits.float()


def engine_named(name: str) -> EngineName:
    """The name of an engine, checked. Raises InputError if there is none."""
    return one_of("audit engine", name, get_args(EngineName), see="`faal audit --help`")


def engine_for(name: EngineName, model: nn.Module, images: Tensor) -> Engine:
    """The engine of a name for a network.

    The choice depends on the machine, the network and the images, not on measured time: it is the same for all
    processes and for the next call, which reuses the blocks of this one.

    Args:
        name: `fast` or `reference`.
        model: the network, in evaluation mode.
        images: (B, channels, H, W) on its device, the audit's first block.
    """
    if name == "reference":
        return REFERENCE
    try:
        return Engine(name, BFLOAT16, Fast(model, images))
    except UnsuitedError as reason:
        return Engine(name, f"{FLOAT32}: {reason}")


def _error(copied: nn.Module, model: nn.Module, images: Tensor) -> tuple[float, float]:
    """The root mean square error of a copy's logits, and the standard deviation of an image's logits.

    The error is infinite if the copy's gradient is not finite.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        logits = copied(images)
        (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), images)
    with torch.no_grad():
        exact = model(images)
        error = (logits - exact).square().mean().sqrt()
        return float(error) if gradient.isfinite().all() else torch.inf, float(exact.std(dim=1).mean())
