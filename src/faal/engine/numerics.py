"""Device, precision and memory format of a network."""

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from faal.config.choices import Precision
from faal.errors import InputError

MIN_BF16_OPERATIONS = 2e6
"""Operations of one forward pass per image from which bfloat16 is used. Below, casts on CPUs take as much time as
products save (docs/performance.md); on GPUs the difference is negligible."""

MIN_STRIDED_CHANNELS = 8
"""Input channels of a strided 1x1 convolution from which it is trained channels last on a CPU."""

FORWARD_ERRORS = (RuntimeError, ValueError, AssertionError)
"""Errors that networks raise for invalid inputs."""


def pick_device(name: str) -> torch.device:
    """`auto` (a GPU where there is one), `cpu` or `cuda`; under torchrun each process uses its own GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no GPU here; install its CUDA build or leave out --device")
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device is auto, cpu or cuda, not {name!r}")
    if name == "cuda":
        import os

        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16, which are then faster than those of float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without them PyTorch emulates bfloat16, which is slower. The function is not public before PyTorch 2.10.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())


def precision_notes(precision: Precision, device: torch.device) -> tuple[str, ...]:
    """A note if the precision set by the user is slower than float32 on this device."""
    if precision != "bf16" or multiplies_bf16(device):
        return ()
    return ("bf16 is slower than float32 on this device, which has no instructions for it; use `--precision auto`.",)


@torch.no_grad()
def operations(net: nn.Module, images: Tensor) -> float:
    """Additions and multiplications of one forward pass of a network in evaluation mode, per image of `images`."""
    with FlopCounterMode(display=False) as counter:
        net(images)
    return float(counter.get_total_flops()) / len(images)


@torch.no_grad()
def memory_format(net: nn.Module, images: Tensor) -> torch.memory_format:
    """Channels last, in which convolutions are faster; contiguous where the network fails with it, e.g. at a `view`.

    Contiguous too on a CPU where a 1x1 convolution with a stride has fewer than eight input channels: on a CPU with no
    more than AVX2, the gradient of its weights then writes out of bounds (oneDNN in PyTorch 2.13).

    Args:
        net: in evaluation mode; its weights are converted to the format.
        images: (B, channels, H, W) on its device.
    """
    if not (images.device.type == "cpu" and any(map(_is_unsafe_channels_last, net.modules()))):
        with suppress(*FORWARD_ERRORS):
            net.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))  # type: ignore[call-overload]
            return torch.channels_last
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return torch.contiguous_format


def _is_unsafe_channels_last(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        and module.in_channels // module.groups < MIN_STRIDED_CHANNELS
    )


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The arithmetic of training. Verdicts do not use it: they are float32."""

    device: torch.device
    bf16: bool
    memory: torch.memory_format = torch.channels_last
    """The memory format of weights and images."""

    @classmethod
    def choose(
        cls, precision: Precision, device: torch.device, net: nn.Module | None = None, images: Tensor | None = None
    ) -> "Numerics":
        """`float32`, `bf16`, or `auto`: bf16 where that is faster, else float32.

        The choice depends on the machine and the network, not on measured time: processes on machines of one type make
        the same choice, and so does a resumed run.

        Args:
            precision: as above.
            device: the device of the network.
            net: the network, on the device; required for `auto` on a CPU.
            images: (B, channels, H, W), a few examples of its input, on the device.
        """
        if net is None or images is None:
            flops, memory = 0.0, torch.channels_last
        else:
            net.eval()
            flops, memory = operations(net, images), memory_format(net, images)
        faster = multiplies_bf16(device) and (device.type == "cuda" or flops >= MIN_BF16_OPERATIONS)
        return cls(device=device, bf16=precision == "bf16" or (precision == "auto" and faster), memory=memory)

    @property
    def form(self) -> tuple[str, str]:
        """Precision and memory format as text, for a comparison between processes."""
        return self.name, str(self.memory)

    @property
    def name(self) -> str:
        """The name recorded in the run's folder."""
        return "bf16" if self.bf16 else "float32"

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass. Casts are not cached: AWP changes the weights between two forward passes, and
        a cached cast would contain the old ones."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def place(self, net: nn.Module) -> nn.Module:
        """The network on the device, in the memory format chosen."""
        return net.to(self.device).to(memory_format=self.memory)  # type: ignore[call-overload,no-any-return]
