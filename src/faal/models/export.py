"""Export the weights of a run's network as a file that the network's own class loads, and read its metadata."""

import io
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from faal.bounds.plain import parse_json
from faal.checkpoint import refuse_existing, write_atomically
from faal.checksums import TENSORS_SHA256, append_checksum, tensors_sha256
from faal.errors import InputError
from faal.models.build import Architecture
from faal.models.foreign import unwrapped
from faal.models.native import (
    architecture_and_threat,
    build_with_weights,
    checked_entries,
    read_architecture,
    read_checkpoint,
    replace_model,
    unfinished_notes,
    weights_path,
)
from faal.models.normalize import BGR, Statistics, parse_normalize, reverses_channels, same_normalisation
from faal.models.number_types import require_finite
from faal.models.offsets import Offset, merge_into_bias
from faal.reading import read_metadata

SAFETENSORS, TORCH = {".safetensors"}, {".pth", ".pt"}
"""Suffixes of a file's name, by format."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The content of an exported file, and the information that its user needs."""

    architecture: Architecture
    """The network of the weights."""
    tensors: int
    """The number of entries in the file."""
    normalisation: Statistics | None
    """Mean and deviation of each channel, for images in [0, 1] before the network; None for none."""
    reverse: bool
    """Whether the network expects the channels in reverse, blue first, after the normalisation."""
    classes: tuple[str, ...]
    """Their names, in the order of the logits; empty where the checkpoint has no names."""
    offsets: tuple[float, ...]
    """One constant per class that the user must add to the logits; empty where there are none, or where the weights
    include them."""
    offsets_layer: str | None
    """The layer whose bias includes the offsets; None for none."""
    notes: list[str]
    """Notes on the run, in sentences."""


def export(path: Path, file: Path, *, model: str | None = None) -> Exported:
    """Write the weights of a run's network for its own class: `net.load_state_dict(weights, strict=True)`.

    Offsets are added to the bias of the layer that computes the logits, where the network has such a layer; else the
    user must add them, as `open_model` does. Offsets that are all 0 are omitted.

    Args:
        path: as in `load_model`.
        file: the file to write: `.safetensors`, with architecture, classes and normalisation in its metadata, or
            `.pth` or `.pt`, a plain state_dict.
        model: as in `load_model`; a difference is one of the notes.

    Raises:
        InputError: as in `load_model`; a weight is not finite; the file exists, has another suffix or cannot be
            written; safetensors cannot store an entry of the network's state_dict; the file is a plain state_dict, and
            would lack the offsets.
    """
    if file.suffix not in SAFETENSORS | TORCH:
        raise InputError(f"{file} must end in .safetensors or .pth, the format to write")
    refuse_existing(file)
    source = weights_path(path)
    state, _ = read_checkpoint(source)
    architecture, _ = architecture_and_threat(state, source)
    architecture, replaced = replace_model(architecture, model, source)
    with checked_entries(source):
        classes = tuple(str(name) for name in state.get("classes") or ())
    net = build_with_weights(state, architecture, source, model=model).eval()
    require_finite(net.state_dict(), source)
    offsets, offsets_layer = tuple[float, ...](), None
    if isinstance(net, Offset) and net.offsets.any():
        size = state.get("image_size") or (32, 32)
        images = torch.rand(4, architecture.channels, *size, generator=torch.Generator().manual_seed(0))
        offsets_layer = merge_into_bias(net, unwrapped(net), images)
        offsets = tuple(net.offsets.tolist()) if offsets_layer is None else ()
    if offsets and file.suffix in TORCH:
        raise InputError(
            f"{file} is a plain state_dict, and no layer of {architecture.model} can include the offsets in its bias; "
            "name a file that ends in .safetensors, which records them"
        )
    weights = unwrapped(net).state_dict()
    normalisation = parse_normalize(architecture.normalize, architecture.channels)
    if file.suffix in SAFETENSORS:
        content = _safetensors(weights, architecture, normalisation, classes, offsets)
    else:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        append_checksum(buffer)
        content = buffer.getvalue()
    write_atomically(file, content, advice="name a file in another folder", new=True)
    return Exported(
        architecture=architecture,
        tensors=len(weights),
        normalisation=normalisation,
        reverse=reverses_channels(architecture.normalize),
        classes=classes,
        offsets=offsets,
        offsets_layer=offsets_layer,
        notes=[*replaced, *unfinished_notes(source)],
    )


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """The metadata of an exported `.safetensors` file."""

    architecture: Architecture
    """The network of the weights; `offsets` is whether they are not part of the weights."""
    classes: tuple[str, ...]
    """Their names, in the order of the logits; empty where the file has no names."""
    offsets: tuple[float, ...]
    """One constant per class to add to the logits; empty for none."""


def read_export_record(path: Path) -> ExportRecord | None:
    """The record in a file that `export` wrote; None for any other file.

    Raises:
        InputError: the file cannot be read, or its record is damaged or of another version.
    """
    metadata = read_metadata(path)
    if not {"architecture", "normalize", "classes"} <= metadata.keys():
        return None
    with checked_entries(path):
        architecture = read_architecture(parse_json(metadata["architecture"]))
        classes = tuple(str(name) for name in parse_json(metadata["classes"]))
        offsets = tuple(float(offset) for offset in parse_json(metadata.get("offsets", "[]")))
        count = architecture.num_classes
        if not same_normalisation(metadata["normalize"], architecture.normalize, architecture.channels):
            raise ValueError("it records two normalisations")
        if len(classes) not in (0, count):
            raise ValueError(f"it has {len(classes)} names for {count} classes")
        if len(offsets) != (count if architecture.offsets else 0) or not all(map(math.isfinite, offsets)):
            raise ValueError(f"its offsets are not one finite number for each of {count} classes")
    if not any(offsets):  # as written by earlier versions
        architecture, offsets = replace(architecture, offsets=False), ()
    return ExportRecord(architecture=architecture, classes=classes, offsets=offsets)


def _safetensors(
    weights: dict[str, Tensor],
    architecture: Architecture,
    normalisation: Statistics | None,
    classes: tuple[str, ...],
    offsets: tuple[float, ...],
) -> bytes:
    # A .pth file would lack the offsets.
    advice = "load the network by faal.load_model instead" if offsets else "name a file that ends in .pth"
    for name, value in weights.items():
        if not isinstance(value, Tensor):  # a module's get_extra_state
            raise InputError(f"{architecture.model} stores {name}, which is not a tensor, so {advice}")
    normalize = "none" if normalisation is None else ":".join(",".join(map(str, values)) for values in normalisation)
    if reverses_channels(architecture.normalize):
        normalize += f":{BGR}"
    metadata = {
        "format": "pt",
        "architecture": json.dumps(asdict(replace(architecture, offsets=bool(offsets)))),
        "normalize": normalize,
        "classes": json.dumps(classes, ensure_ascii=False),
    }
    if offsets:
        metadata["offsets"] = json.dumps(offsets)
    # Copies of tied weights: the format rejects tensors that share memory.
    tensors = {name: value.clone().contiguous() for name, value in weights.items()}
    digest = tensors_sha256(io.BytesIO(safetensors_bytes(tensors, metadata)))
    content: bytes = safetensors_bytes(tensors, {**metadata, TENSORS_SHA256: digest})
    return content
