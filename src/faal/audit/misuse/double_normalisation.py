"""Test whether the model normalises its images twice: in the network, and in an added layer."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faal.audit.misuse.samples import CheckResult, Samples
from faal.models.public.beside import DEVIATIONS, MEANS


@dataclass(kw_only=True)
class Normalisation:
    """The call of a layer that has a mean and a standard deviation: its `input`, and `normalised`, that input
    normalised with them; `applied` where a tensor inside the layer, or its output, equals `normalised`."""

    layer: nn.Module
    name: str
    input: Tensor
    normalised: Tensor
    applied: bool = False


@torch.no_grad()
def double_normalisation(model: nn.Module, samples: Samples) -> CheckResult:
    """Trace one image through the layers that have a mean and a standard deviation.

    If the input of one is the normalised output of another, and is normalised again, the image is normalised twice,
    without false alarms. Statistics that a layer does not apply are ignored. Normalisation outside such layers, with
    another operation in between, or in a ScriptModule, is not detected here, but by `input_scaling`. One forward.
    """
    calls = [call for call in _normalisations(model, samples.images[:1]) if call.applied]
    chains: list[list[str]] = []
    for at, second in enumerate(calls):
        before = [chains[i] for i, first in enumerate(calls[:at]) if _same(first.normalised, second.input)]
        chains.append([*max(before, key=len, default=[]), second.name])
    longest = max(chains, key=len, default=[])
    values = {"layers": [call.name for call in calls], "twice": max(len(longest) - 1, 0)}
    if len(longest) < 2:
        return CheckResult(values=values)
    return CheckResult(
        values=values,
        warning=f"The model normalises its images {len(longest)} times (by {longest[0]!r}, "
        f"then by {longest[1]!r}): unless it was trained in this way, it is evaluated on images of another scale than "
        "in its training, and the accuracies are too low; remove one normalisation (--normalize none) and audit again.",
    )


def _normalisations(model: nn.Module, image: Tensor) -> list[Normalisation]:
    """The calls in the forward of one image (1, channels, H, W), in order, without identities."""
    statistics = {
        module: (name.removeprefix("model."), *numbers)
        for name, module in model.named_modules()
        if (numbers := _statistics(module, image))
    }
    calls: list[Normalisation] = []
    open_calls: list[Normalisation] = []

    def record(value: Any) -> bool:
        """Whether `value` may be an image; marks the open calls whose normalised input it equals as applied."""
        if not (isinstance(value, Tensor) and value.is_floating_point() and value.numel() == image.numel()):
            return False
        for call in open_calls:
            call.applied |= _same(value.reshape(image.shape), call.normalised)
        return True

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and record(inputs[0]) and module in statistics and inputs[0].shape == image.shape:
            name, mean, deviation = statistics[module]
            layer_input = inputs[0].clone()  # the layer may write into its input
            call = Normalisation(
                layer=module, name=name, input=layer_input, normalised=(layer_input - mean) / deviation
            )
            if not _same(call.normalised, layer_input):
                calls.append(call)
                open_calls.append(call)

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        record(output)
        if open_calls and open_calls[-1].layer is module:
            open_calls.pop()

    layers = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    handles = [layer.register_forward_pre_hook(enter) for layer in layers]
    handles += [layer.register_forward_hook(leave, always_call=True) for layer in layers]
    try:
        with _uncompiled():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _uncompiled() -> AbstractContextManager[object]:
    """The context in which every layer runs eagerly, since a compiled graph calls no hooks."""
    # Without this module nothing is compiled; its import takes seconds.
    compiles = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiles else nullcontext()


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other.to(one), atol=1e-5)


def _statistics(module: nn.Module, image: Tensor) -> tuple[Tensor, Tensor] | None:
    """The mean and the standard deviation of a layer, (1, channels, 1, 1) or (1, 1, 1, 1); None if it has none."""
    found = []
    for names in (MEANS, DEVIATIONS):
        values = [getattr(module, name) for name in sorted(names) if hasattr(module, name)]
        try:
            numbers = torch.as_tensor(values[0], dtype=image.dtype, device=image.device).flatten()
        except (IndexError, TypeError, ValueError, RuntimeError):
            return None
        if len(numbers) not in (1, image.shape[1]):
            return None
        found.append(numbers.view(1, -1, 1, 1))
    return found[0], found[1]
