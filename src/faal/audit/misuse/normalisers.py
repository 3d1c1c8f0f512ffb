"""Whether the images are normalised twice on their way through the model: inside it, and by what was put around it."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from faal.audit.misuse.evidence import Finding, Samples
from faal.models.foreign import DEVIATIONS, MEANS


@dataclass(kw_only=True)
class Passage:
    """An image's way through a layer that carries a mean and a deviation: what it is `given`, and what it would have
    `made` of that if it normalised; `applied` once that is seen, inside the layer or as its output."""

    layer: nn.Module
    name: str
    given: Tensor
    made: Tensor
    applied: bool = False


@torch.no_grad()
def normalisers(model: nn.Module, samples: Samples) -> Finding:
    """Follow one image through the layers that carry a mean and a deviation.

    Where one of them gets what another made of its input, and normalises that again, the image is normalised twice: a
    fact, no false alarm. Numbers that a layer carries and does not use count for nothing. What is normalised without
    such layers, with something in between, or within a ScriptModule, is not seen here; see `readings`. One forward.
    """
    passages = [passage for passage in _passages(model, samples.images[:1]) if passage.applied]
    chains: list[list[str]] = []
    for at, second in enumerate(passages):
        before = [chains[i] for i, first in enumerate(passages[:at]) if _same(first.made, second.given)]
        chains.append([*max(before, key=len, default=[]), second.name])
    longest = max(chains, key=len, default=[])
    figures = {"layers": [passage.name for passage in passages], "twice": max(len(longest) - 1, 0)}
    if len(longest) < 2:
        return Finding(figures=figures)
    return Finding(
        figures=figures,
        warning=f"Images are normalised {len(longest)} times on their way through the model (by {longest[0]!r}, "
        f"then by {longest[1]!r}): unless it was trained so, it is judged on images that it does not know, and the "
        "figures are too low; take one normalisation away (--normalize none) and audit again.",
    )


def _passages(model: nn.Module, image: Tensor) -> list[Passage]:
    """The passages of one image (1, channels, H, W), in order, but those through numbers that change nothing."""
    carried = {
        module: (name.removeprefix("model."), *numbers)
        for name, module in model.named_modules()
        if (numbers := _numbers(module, image))
    }
    passages: list[Passage] = []
    inside: list[Passage] = []

    def see(value: Any) -> bool:
        """Whether it may be an image; where it is what a layer around would have made, that layer did."""
        if not (isinstance(value, Tensor) and value.is_floating_point() and value.numel() == image.numel()):
            return False
        for passage in inside:
            passage.applied |= _same(value.reshape(image.shape), passage.made)
        return True

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and see(inputs[0]) and module in carried and inputs[0].shape == image.shape:
            name, mean, deviation = carried[module]
            given = inputs[0].clone()  # the layer may write into its own
            passage = Passage(layer=module, name=name, given=given, made=(given - mean) / deviation)
            if not _same(passage.made, given):
                passages.append(passage)
                inside.append(passage)

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        see(output)
        if inside and inside[-1].layer is module:
            inside.pop()

    layers = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    handles = [layer.register_forward_pre_hook(enter) for layer in layers]
    handles += [layer.register_forward_hook(leave, always_call=True) for layer in layers]
    try:
        with _uncompiled():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    return passages


def _uncompiled() -> AbstractContextManager[object]:
    """Every layer is called as it is written: a compiled graph calls no hooks."""
    # Nothing is compiled without this module, and to import it takes seconds.
    compiles = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiles else nullcontext()


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other.to(one), atol=1e-5)


def _numbers(module: nn.Module, image: Tensor) -> tuple[Tensor, Tensor] | None:
    """The mean and the deviation that a layer carries, shaped for images; None where it carries none."""
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
