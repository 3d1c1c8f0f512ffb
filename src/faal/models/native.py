"""This program's checkpoints: the path of the file, the architecture that it records, and the network with its
weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from faal import checkpoint
from faal.config import Threat
from faal.errors import InputError
from faal.models.build import Architecture, build_model
from faal.models.libraries import CONFIG, WEIGHTS
from faal.models.number_types import require_finite, require_types
from faal.models.own import is_foreign, require_named
from faal.models.zoo import read_zoo, zoo_name
from faal.reading import read_tensors

LOG = "metrics.jsonl"
"""The log of a run, in the folder of its checkpoints; its last event is `end`."""


def weights_path(path: Path) -> Path:
    """The file of weights in a run's folder, or in one of Hugging Face's; any other path unchanged.

    Raises:
        InputError: the folder contains none.
    """
    if not path.is_dir():
        return path
    folder = path
    if (folder / "best.pt").exists():
        return folder / "best.pt"
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder} contains no best.pt: train there first, or name a checkpoint such as last.pt")
    if not (folder / WEIGHTS).exists():
        raise InputError(f"{folder} contains a {CONFIG} but no {WEIGHTS}; save its network again as one {WEIGHTS}")
    return folder / WEIGHTS


def is_native(path: Path) -> bool:
    """Whether a file is a checkpoint of this program."""
    content = read_tensors(path)
    return isinstance(content, Mapping) and content.get("format") == checkpoint.FORMAT


def read_checkpoint(path: Path) -> tuple[dict[str, Any], str]:
    """The content of a checkpoint of this program, or of `zoo:NAME`, and the SHA-256 of its file.

    Raises:
        InputError: it cannot be read, or is not of this program.
    """
    published = zoo_name(path)
    return (checkpoint.load(path), checkpoint.digest(path)) if published is None else read_zoo(published)


@contextmanager
def checked_entries(path: Path) -> Iterator[None]:
    """The context in which entries of a checkpoint of this program are read.

    Raises:
        InputError: one is missing or of another type, as in a checkpoint of another version or a damaged one.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path} does not describe a network that this version can build ({reason}); use the version that wrote "
            "it, or another checkpoint"
        ) from None


def read_architecture(recorded: Mapping[str, Any]) -> Architecture:
    """The architecture from its entries in a file; call it within `checked_entries`.

    Raises:
        ValueError, TypeError: an entry is missing, unknown or of another type.
    """
    types, entries = get_type_hints(Architecture), dict(recorded)
    invalid = [name for name, value in entries.items() if name not in types or not isinstance(value, types[name])]
    if invalid:
        raise ValueError(f"it has {invalid[0]} {entries[invalid[0]]!r}")
    return Architecture(**entries)


def architecture_and_threat(state: Mapping[str, Any], path: Path) -> tuple[Architecture, Threat]:
    """The architecture in a checkpoint of this program, and the threat that it was trained against.

    Args:
        state: the checkpoint's content.
        path: its name in an error.

    Raises:
        InputError: an entry is missing, or describes a network that this version cannot build.
    """
    with checked_entries(path):
        architecture, recipe = read_architecture(state["architecture"]), state["recipe"]
        return architecture, Threat(recipe.get("norm", "linf"), float(recipe["epsilon"]))


def replace_model(architecture: Architecture, model: str | None, path: Path) -> tuple[Architecture, list[str]]:
    """A checkpoint's architecture with the network named in the call, and a note where the two differ.

    Args:
        architecture: the recorded one.
        model: the network named in the call; None for none.
        path: the checkpoint's name in messages.

    Raises:
        InputError: the checkpoint names code, and the call does not.
    """
    recorded = architecture.model
    if model is None:
        require_named(recorded, None, str(path))
    if model in (None, recorded):
        return architecture, []
    note = f"{path} records its network as {recorded}; its weights are loaded into {model}, which --model names."
    if is_foreign(model):  # such a network has a fixed size
        architecture = replace(architecture, width=None, depth=None)
    return replace(architecture, model=model), [note]


def build_with_weights(
    state: Mapping[str, Any], architecture: Architecture, path: Path, *, model: str | None = None
) -> nn.Module:
    """The network of a checkpoint of this program with its weights, on the CPU, in training mode.

    Args:
        state: the checkpoint's content.
        architecture: what to build; `module:function` only where `model` is the same.
        path: the checkpoint's name in an error.
        model: the network named in the call.

    Raises:
        InputError: the weights are missing, of another network, not finite, or of a number type that needs a scale; the
            network is code that the call does not name.
    """
    try:
        if not is_foreign(architecture.model):
            _check_fit(state["weights"], architecture, path)
        net = build_model(architecture, seed=0, model=model)  # with a seed the caller's generator does not change
        require_types(net.state_dict(), state["weights"], path)
        finite = [name for name, value in net.state_dict().items() if _is_finite(value)]  # a mask may be infinite
        net.load_state_dict(state["weights"])
    except (KeyError, TypeError, AttributeError, RuntimeError):
        if (recorded := state["architecture"]["model"]) != architecture.model:
            raise InputError(
                f"{path} contains the weights of {recorded}, which do not fit {architecture.model}; name "
                "their network with --model"
            ) from None
        raise InputError(
            f"{path} does not contain the weights of the {architecture.model} that it describes: it was changed or "
            "damaged; use another checkpoint, or train again"
        ) from None
    require_finite({name: state["weights"][name] for name in finite}, path)
    return net


def _is_finite(value: object) -> bool:
    return isinstance(value, Tensor) and bool(value.isfinite().all())


def _check_fit(weights: Mapping[str, Any], architecture: Architecture, path: Path) -> None:
    """Load weights into a network without memory, since a file may describe one of any size; raises PyTorch's
    errors."""
    with torch.device("meta"):
        net = build_model(architecture, seed=0)
    require_types(net.state_dict(), weights, path)
    net.load_state_dict(weights, assign=True)


def unfinished_notes(path: Path) -> list[str]:
    """A note if a best.pt is that of an unfinished run."""
    log = path.with_name(LOG)
    text = log.read_text(encoding="utf-8", errors="replace") if path.name == "best.pt" and log.is_file() else ""
    if not text or '"event": "end"' in text:
        return []
    epochs = text.count('"event": "epoch"')
    return [
        f"The run in {path.parent} is not finished: {path.name} is the best network of its first {epochs} "
        "epochs and may change; run the same command again to continue."
    ]
