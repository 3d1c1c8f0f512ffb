"""What is said of a checkpoint that does not fit: in what it differs, and what it looks like instead."""

import re
from collections.abc import Iterable

from torch import Tensor

from faal.errors import InputError

SHOWN = 3
"""How many names a sentence lists before it says that there are more."""

MARKS = ((".layer4.0.conv3.weight", None), (".layer4.0.shortcut.1.weight", "rn18"), (".bn.weight", "prn18"))
"""By which of its tensors a net of four stages is told; blocks of three convolutions are none of ours."""


class MismatchError(InputError):
    """Weights are of another architecture than the model, which was built for the data's classes and channels."""


def mismatch(
    wanted: dict[str, Tensor],
    found: dict[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    tensors: dict[str, Tensor],
) -> str:
    """The end of a sentence that begins with the file's name.

    Args:
        wanted: the model's tensors.
        found: the file's tensors under the model's names, whatever their shape.
        missing: names of the model that the file lacks.
        unexpected: names of the file that the model has no place for.
        tensors: all tensors of the file.
    """
    misshapen = [
        f"{name} is {_shape(tensor)}, not {_shape(wanted[name])}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    facts = [
        f"{words} ({_first(names)})"
        for words, names in (
            (f"{len(misshapen)} tensors have another shape", misshapen),
            (f"{len(missing)} are missing", missing),
            (f"{len(unexpected)} are unexpected", unexpected),
        )
        if names
    ]
    guess = resembles(tensors)
    advice = f"it looks like {guess}" if guess else "name the architecture that it was trained with"
    return f"is of another architecture than the model: {', '.join(facts)}; {advice}"


def resembles(tensors: dict[str, Tensor]) -> str | None:
    """Which architecture the names and shapes speak of, with its numbers of classes and channels, if any."""
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
    """How many blocks the names of a stage count."""
    found = (re.search(rf"(?:^|\.){stage}\.(\d+)\.conv1\.weight$", name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
