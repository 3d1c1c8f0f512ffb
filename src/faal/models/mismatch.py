"""The message for a checkpoint that does not fit: the differences, and the architecture that it resembles."""

import re
from collections.abc import Iterable

from torch import Tensor

from faal.errors import InputError

SHOWN = 3
"""The most names that a message lists."""

SIGNATURES = ((".layer4.0.conv3.weight", None), (".layer4.0.shortcut.1.weight", "rn18"), (".bn.weight", "prn18"))
"""The tensor that identifies a network of four stages; no network of this program has blocks of three convolutions."""


class MismatchError(InputError):
    """The weights are of another architecture than the model, which is built for the data's classes and channels."""


def mismatch(
    expected: dict[str, Tensor],
    found: dict[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    tensors: dict[str, Tensor],
) -> str:
    """The message, without the file's name at its beginning.

    Args:
        expected: the model's tensors.
        found: the file's tensors under the model's names, of any shape.
        missing: names of the model that the file lacks.
        unexpected: names of the file that the model lacks.
        tensors: all tensors of the file.
    """
    wrong_shape = [
        f"{name} is {_shape(tensor)}, not {_shape(expected[name])}"
        for name, tensor in found.items()
        if tensor.shape != expected[name].shape
    ]
    problems = [
        f"{text} ({first(names)})"
        for text, names in (
            (f"{len(wrong_shape)} tensors have another shape", wrong_shape),
            (f"{len(missing)} are missing", missing),
            (f"{len(unexpected)} are unexpected", unexpected),
        )
        if names
    ]
    if not wrong_shape and not missing:
        return (
            f"contains all weights of the model and others: {problems[0]}; they may be layers that change its "
            "logits, so name the network that has them, or, if its forward does not use them, save it without"
        )
    similar = resembles(tensors)
    advice = f"it resembles {similar}" if similar else "name the architecture that it was trained with"
    return f"is of another architecture than the model: {', '.join(problems)}; {advice}"


def resembles(tensors: dict[str, Tensor]) -> str | None:
    """The architecture that the names and shapes indicate, with its numbers of classes and channels, if any."""
    images = [tensor for tensor in tensors.values() if tensor.ndim == 4]
    linear = [tensor for tensor in tensors.values() if tensor.ndim == 2]
    if not images or not linear:
        return None
    data = f"{linear[-1].shape[0]} classes and {_count(images[0].shape[1], 'channel')}"
    wide = _blocks(tensors, r"block1\.layer")
    if wide:
        first = next(t for name, t in tensors.items() if name.endswith("block1.layer.0.conv1.weight"))
        return f"wrn{6 * wide + 4}-{first.shape[0] // 16} for {data}"
    blocks = _blocks(tensors, "layer4")
    kind = next((kind for suffix, kind in SIGNATURES if any(f".{name}".endswith(suffix) for name in tensors)), None)
    if blocks and kind:
        width = images[0].shape[0]
        size = "" if (width, blocks) == (64, 2) else f" of width {width} and depth {blocks}"
        return f"{kind}{size} for {data}"
    return f"a model for {data}"


def _blocks(tensors: Iterable[str], stage: str) -> int:
    """The number of blocks in a stage, from the names."""
    found = (re.search(rf"(?:^|\.){stage}\.(\d+)\.conv1\.weight$", name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def first(names: list[str]) -> str:
    """The first few names of a list."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
