"""Back into somebody's own code: the network of a run as a module, or its weights as a file that its class takes."""

import io
import json
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from faal.checkpoint import write_whole
from faal.errors import InputError
from faal.models.build import Architecture
from faal.models.foreign import unwrapped
from faal.models.load import as_named, described, file_of, restored, stored, understood, unfinished
from faal.models.normalize import BLUE_FIRST, Statistics, parse_normalize, reverses_channels
from faal.models.offsets import Offset, fold

SAFETENSORS, TORCH = {".safetensors"}, {".pth", ".pt"}
"""How a file's name ends, for either format."""


def load_model(path: Path | str, *, model: str | None = None) -> nn.Module:
    """The network of a run, trained or repaired.

    Args:
        path: a run's folder (its best.pt), a checkpoint of this program, or `zoo:NAME`.
        model: the network, where it is one's own, `module:function`: the checkpoint holds its name and its weights, but
            no code is imported because a file names it. The module is installed, or lies in the current folder. Where
            it names another network than the checkpoint, that one gets the weights, with a warning.

    Returns:
        A module from images (B, channels, H, W) in [0, 1] to logits (B, C), on the CPU, in evaluation mode. Weights
        are float32, whatever precision the training took. Normalisation that the network expects is part of it; `.net`
        is then the network without. Where the run chose offsets, `.net` is the network without these, normalisation
        included.

    Raises:
        InputError: there is no such run, it is damaged or of another version, or its network cannot be built here; it
            names code, and `model` does not.

    Example:
        >>> net = load_model("runs/mine", model="mymodels:net")  # doctest: +SKIP
    """
    file = file_of(Path(path))
    state, _ = stored(file)
    architecture, _ = described(state, file)
    architecture, notes = as_named(architecture, model, file)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return restored(state, architecture, file, model=model).eval()


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and what its reader has to know."""

    architecture: Architecture
    """The network that the weights are of."""
    tensors: int
    """How many entries the file has."""
    normalisation: Statistics | None
    """Mean and deviation of each channel, which the network wants done to images in [0, 1]; None for nothing."""
    reverse: bool
    """Whether the network takes the channels in reverse, blue first, after the normalisation."""
    classes: tuple[str, ...]
    """What the logits stand for, in their order; empty where the checkpoint has no names."""
    offsets: tuple[float, ...]
    """One constant per class that the reader has to add to the logits; empty where there are none, or where the
    weights have them."""
    folded: str | None
    """The layer whose bias has the offsets in it; None for none."""
    notes: list[str]
    """What is odd about the run, in sentences."""


def export(path: Path, file: Path, *, model: str | None = None) -> Exported:
    """Write the weights of a run's network as its own class takes them: `net.load_state_dict(weights, strict=True)`.

    Offsets go into the bias of the layer that gives the logits, where the network has such a layer; else the reader
    has to add them.

    Args:
        path: like that of `load_model`.
        file: where to; `.safetensors`, which tells architecture, classes and normalisation in its metadata too, or
            `.pth` or `.pt`, a plain state_dict.
        model: like that of `load_model`; a difference is one of the notes.

    Raises:
        InputError: as in `load_model`; the file exists, ends otherwise or cannot be written; safetensors cannot hold
            what the network keeps.
    """
    if file.suffix not in SAFETENSORS | TORCH:
        raise InputError(f"{file} has to end in .safetensors or .pth, which says what is written")
    if file.exists():
        raise InputError(f"{file} exists and is not overwritten; name another file, or remove it first")
    source = file_of(path)
    state, _ = stored(source)
    architecture, _ = described(state, source)
    architecture, other = as_named(architecture, model, source)
    with understood(source):
        classes = tuple(str(name) for name in state.get("classes") or ())
    net = restored(state, architecture, source, model=model).eval()
    offsets, folded = tuple[float, ...](), None
    if isinstance(net, Offset):
        size = state.get("image_size") or (32, 32)
        drawn = torch.rand(4, architecture.channels, *size, generator=torch.Generator().manual_seed(0))
        folded = fold(net, unwrapped(net), drawn)
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
        notes=[*other, *unfinished(source)],
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
            raise InputError(f"{architecture.model} keeps {name}, which is no tensor, so name a file that ends in .pth")
    told = "none" if normalisation is None else ":".join(",".join(map(str, values)) for values in normalisation)
    if reverses_channels(architecture.normalize):
        told += f":{BLUE_FIRST}"
    metadata = {
        "format": "pt",
        "architecture": json.dumps(asdict(replace(architecture, offsets=bool(offsets)))),
        "normalize": told,
        "classes": json.dumps(classes, ensure_ascii=False),
    }
    if offsets:
        metadata["offsets"] = json.dumps(offsets)
    # Copies, for tied weights: the format refuses tensors that share their memory.
    content: bytes = safetensors_bytes({name: value.clone().contiguous() for name, value in weights.items()}, metadata)
    return content
