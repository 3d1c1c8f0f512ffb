"""Where and in what arithmetic a network runs: device, precision, memory format."""

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from faal.errors import InputError

WORTHWHILE = 2e6
"""Operations of one forward per image from which bfloat16 is taken. On CPUs casts cost below what the products save
(docs/performance.md); on GPUs so little work is no matter."""

FEWEST_STRIDED = 8
"""Input channels of a strided convolution of one pixel from which it is trained channels last on a CPU."""

REFUSALS = (RuntimeError, ValueError, AssertionError)
"""What networks say no with."""


def pick_device(name: str) -> torch.device:
    """`auto` (a GPU where there is one), `cpu` or `cuda`; under torchrun each process takes its own GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no GPU here; install its CUDA build or leave out --device")
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device is auto, cpu or cuda, not {name!r}")
    if name == "cuda":
        import os

        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16, so that they are faster than those of float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without them PyTorch computes in bfloat16 as well, more slowly. The question is not public before PyTorch 2.10.
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and asked is not None and bool(asked())


def precision_notes(precision: str, device: torch.device) -> tuple[str, ...]:
    """What a person has to know who asks for an arithmetic by name."""
    if precision != "bf16" or multiplies_bf16(device):
        return ()
    return ("bf16 is slower than float32 here, for want of its instructions; `--precision auto` takes the faster.",)


@torch.no_grad()
def operations(net: nn.Module, images: Tensor) -> float:
    """Additions and multiplications of one forward of a network in evaluation mode, per image of `images`."""
    with FlopCounterMode(display=False) as counter:
        net(images)
    return float(counter.get_total_flops()) / len(images)


@torch.no_grad()
def memory_format(net: nn.Module, images: Tensor) -> torch.memory_format:
    """Channels last, which convolutions like, unless the network objects to it, as one with a `view` may; else rows.

    So too on a CPU where a convolution of one pixel and a stride has fewer than eight input channels: there, on a CPU
    with AVX2 and no more, the gradient of its weights overwrites memory that is not its own (oneDNN in PyTorch 2.13).

    Args:
        net: in evaluation mode; its weights come back in the format.
        images: (B, channels, H, W) on its device.
    """
    if not (images.device.type == "cpu" and any(map(_overwrites, net.modules()))):
        with suppress(*REFUSALS):
            net.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))  # type: ignore[call-overload]
            return torch.channels_last
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return torch.contiguous_format


def _overwrites(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        and module.in_channels // module.groups < FEWEST_STRIDED
    )


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The arithmetic of training. Verdicts do not use it: they are float32."""

    device: torch.device
    bf16: bool
    memory: torch.memory_format = torch.channels_last
    """How weights and images lie in memory."""

    @classmethod
    def choose(
        cls, precision: str, device: torch.device, net: nn.Module | None = None, images: Tensor | None = None
    ) -> "Numerics":
        """`float32`, `bf16`, or `auto`: bf16 where that is faster, else float32.

        The choice hangs on the machine and the network, never on a stopwatch: processes on machines of one kind make it
        alike, and so does a run that goes on after a stop.

        Args:
            precision: as above.
            device: where the network runs.
            net: the network, on the device; on a CPU `auto` needs to know it.
            images: (B, channels, H, W), a few that it takes, on the device.
        """
        if net is None or images is None:
            work, memory = 0.0, torch.channels_last
        else:
            net.eval()
            work, memory = operations(net, images), memory_format(net, images)
        gains = multiplies_bf16(device) and (device.type == "cuda" or work >= WORTHWHILE)
        return cls(device=device, bf16=precision == "bf16" or (precision == "auto" and gains), memory=memory)

    @property
    def form(self) -> tuple[str, str]:
        """Precision and memory format in words, in which processes compare them."""
        return self.name, str(self.memory)

    @property
    def name(self) -> str:
        """As recorded in the run's folder."""
        return "bf16" if self.bf16 else "float32"

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward. Casts are not cached: AWP moves the weights between two forwards, and a cached
        cast would not see it."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def place(self, net: nn.Module) -> nn.Module:
        """The network on the device, in the memory format that it likes."""
        return net.to(self.device).to(memory_format=self.memory)  # type: ignore[call-overload,no-any-return]
