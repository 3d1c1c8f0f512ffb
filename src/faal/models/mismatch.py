"""The message for a checkpoint that does not fit: how it differs, and which architecture it resembles."""

import re
from collections.abc import Iterable

from torch import Tensor

from faal.errors import InputError

SHOWN = 3
"""The most names that a message lists."""

MARKS = ((".layer4.0.conv3.weight", None), (".layer4.0.shortcut.1.weight", "rn18"), (".bn.weight", "prn18"))
"""The tensor that identifies a network of four stages; blocks of three convolutions are in none of this program."""


class MismatchError(InputError):
    """The weights are of another architecture than the model, which is built for the data's classes and channels."""


def mismatch(
    wanted: dict[str, Tensor],
    found: dict[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    tensors: dict[str, Tensor],
) -> str:
    """The message, without the file's name at its beginning.

    Args:
        wanted: the model's tensors.
        found: the file's tensors under the model's names, whatever their shape.
        missing: names of the model that the file lacks.
        unexpected: names of the file that the model lacks.
        tensors: all tensors of the file.
    """
    wrong_shape = [
        f"{name} is {_shape(tensor)}, not {_shape(wanted[name])}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    problems = [
        f"{words} ({_first(names)})"
        for words, names in (
            (f"{len(wrong_shape)} tensors have another shape", wrong_shape),
            (f"{len(missing)} are missing", missing),
            (f"{len(unexpected)} are unexpected", unexpected),
        )
        if names
    ]
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
    kind = next((kind for mark, kind in MARKS if any(f".{name}".endswith(mark) for name in tensors)), None)
    if blocks and kind:
        width = images[0].shape[0]
        size = "" if (width, blocks) == (64, 2) else f" of width {width} and depth {blocks}"
        return f"{kind}{size} for {data}"
    return f"a model for {data}"


def _blocks(tensors: Iterable[str], stage: str) -> int:
    """How many blocks a stage has, by its names."""
    found = (re.search(rf"(?:^|\.){stage}\.(\d+)\.conv1\.weight$", name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
