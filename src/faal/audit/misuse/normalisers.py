"""Whether the images are normalised twice on their way through the model: inside it, and by what was put around it."""

from typing import Any

import torch
from torch import Tensor, nn

from faal.audit.misuse.evidence import Finding, Samples
from faal.models.foreign import DEVIATIONS, MEANS


@torch.no_grad()
def normalisers(model: nn.Module, samples: Samples) -> Finding:
    """Follow one image through the layers that carry a mean and a deviation.

    Where one of them gets what another makes of its input, the image is normalised twice: a fact, no false alarm. What
    is normalised without such layers, or with something in between, is not seen here; see `readings`. One forward.
    """
    image, met = samples.images[:1], list[tuple[str, Tensor, Tensor]]()

    def note(name: str, mean: Tensor, deviation: Tensor) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].shape == image.shape:
                met.append((name, inputs[0], (inputs[0] - mean) / deviation))

        return hook

    handles = [
        module.register_forward_pre_hook(note(name.removeprefix("model."), *numbers))
        for name, module in model.named_modules()
        if (numbers := _numbers(module, image))
    ]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    twice = [
        (first, second)
        for at, (first, taken, made) in enumerate(met)
        for second, given, _ in met[at + 1 :]
        if torch.allclose(given, made, atol=1e-5) and not torch.allclose(made, taken, atol=1e-5)
    ]
    figures = {"layers": [name for name, _, _ in met], "twice": len(twice)}
    if not twice:
        return Finding(figures=figures)
    return Finding(
        figures=figures,
        warning=f"Images are normalised {len(twice) + 1} times on their way through the model (by {twice[0][0]!r}, "
        f"then by {twice[0][1]!r}): unless it was trained so, it is judged on images that it does not know, and the "
        "figures are too low; take one normalisation away (--normalize none) and audit again.",
    )


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
