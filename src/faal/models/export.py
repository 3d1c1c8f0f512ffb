"""Exports the weights of a run's network as a file that the network's own class loads."""

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from faal.checkpoint import write_whole
from faal.errors import InputError
from faal.models.build import Architecture
from faal.models.foreign import unwrapped
from faal.models.native import (
    architecture_and_threat,
    build_with_weights,
    checked_entries,
    read_checkpoint,
    replace_model,
    unfinished_notes,
    weights_path,
)
from faal.models.normalize import BLUE_FIRST, Statistics, parse_normalize, reverses_channels
from faal.models.offsets import Offset, fold

SAFETENSORS, TORCH = {".safetensors"}, {".pth", ".pt"}
"""Suffixes of a file's name, by format."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The content of an exported file, and what its user has to know."""

    architecture: Architecture
    """The network of the weights."""
    tensors: int
    """How many entries the file has."""
    normalisation: Statistics | None
    """Mean and deviation of each channel, for images in [0, 1] before the network; None for none."""
    reverse: bool
    """Whether the network takes the channels in reverse, blue first, after the normalisation."""
    classes: tuple[str, ...]
    """Their names, in the order of the logits; empty where the checkpoint has no names."""
    offsets: tuple[float, ...]
    """One constant per class that the user has to add to the logits; empty where there are none, or where the weights
    include them."""
    folded: str | None
    """The layer whose bias includes the offsets; None for none."""
    notes: list[str]
    """What is unusual about the run, in sentences."""


def export(path: Path, file: Path, *, model: str | None = None) -> Exported:
    """Write the weights of a run's network for its own class: `net.load_state_dict(weights, strict=True)`.

    Offsets are added to the bias of the layer that computes the logits, where the network has such a layer; else the
    user has to add them.

    Args:
        path: like that of `load_model`.
        file: the file to write: `.safetensors`, with architecture, classes and normalisation in its metadata, or
            `.pth` or `.pt`, a plain state_dict.
        model: like that of `load_model`; a difference is one of the notes.

    Raises:
        InputError: as in `load_model`; the file exists, has another suffix or cannot be written; safetensors cannot
            hold an entry of the network's state_dict.
    """
    if file.suffix not in SAFETENSORS | TORCH:
        raise InputError(f"{file} has to end in .safetensors or .pth, the format to write")
    if file.exists():
        raise InputError(f"{file} exists and is not overwritten; name another file, or remove it first")
    source = weights_path(path)
    state, _ = read_checkpoint(source)
    architecture, _ = architecture_and_threat(state, source)
    architecture, replaced = replace_model(architecture, model, source)
    with checked_entries(source):
        classes = tuple(str(name) for name in state.get("classes") or ())
    net = build_with_weights(state, architecture, source, model=model).eval()
    offsets, folded = tuple[float, ...](), None
    if isinstance(net, Offset):
        size = state.get("image_size") or (32, 32)
        images = torch.rand(4, architecture.channels, *size, generator=torch.Generator().manual_seed(0))
        folded = fold(net, unwrapped(net), images)
        offsets = tuple(net.offsets.tolist()) if folded is None else ()
    weights = unwrapped(net).state_dict()
    normalisation = parse_normalize(architecture.normalize, architecture.channels)
    if file.suffix in SAFETENSORS:
        content = _safetensors(weights, architecture, normalisation, classes, offsets)
    else:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        content = buffer.getvalue()
    write_whole(file, content, advice="name a file in another folder")
    return Exported(
        architecture=architecture,
        tensors=len(weights),
        normalisation=normalisation,
        reverse=reverses_channels(architecture.normalize),
        classes=classes,
        offsets=offsets,
        folded=folded,
        notes=[*replaced, *unfinished_notes(source)],
    )


def _safetensors(
    weights: dict[str, Tensor],
    architecture: Architecture,
    normalisation: Statistics | None,
    classes: tuple[str, ...],
    offsets: tuple[float, ...],
) -> bytes:
    for name, value in weights.items():
        if not isinstance(value, Tensor):  # a module's get_extra_state
            raise InputError(
                f"{architecture.model} stores {name}, which is no tensor, so name a file that ends in .pth"
            )
    normalize = "none" if normalisation is None else ":".join(",".join(map(str, values)) for values in normalisation)
    if reverses_channels(architecture.normalize):
        normalize += f":{BLUE_FIRST}"
    metadata = {
        "format": "pt",
        "architecture": json.dumps(asdict(replace(architecture, offsets=bool(offsets)))),
        "normalize": normalize,
        "classes": json.dumps(classes, ensure_ascii=False),
    }
    if offsets:
        metadata["offsets"] = json.dumps(offsets)
    # Copies, for tied weights: the format refuses tensors that share their memory.
    content: bytes = safetensors_bytes({name: value.clone().contiguous() for name, value in weights.items()}, metadata)
    return content
