"""Networks of other libraries, where these are installed: `hf:NAME_OR_DIR` of Hugging Face, and `timm:NAME`.

Both are built from their description and get their weights from a file, like any other network. Nothing is fetched, and
nothing that a folder holds is run: a network that needs code of its own is refused.
"""

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from faal.errors import InputError, first_line, unknown
from faal.models.preprocessing import about_size, per_pixel, settings_of, size_of

CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
"""What `save_pretrained` writes: the network, its weights, and what is done to images before they reach it."""


LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Of every call to transformers."""

PLAIN = {"attn_implementation": "eager"}
"""Of every network of transformers: a description may name a kernel instead, which would be fetched and run."""


class Logits(nn.Module):
    """A Hugging Face classifier as a network that answers images with logits.

    Args:
        net: called with `pixel_values=`, answers with something that has `logits`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, C)."""
        logits: Tensor = self.net(pixel_values=images).logits
        return logits


def hf_model(source: str, num_classes: int, channels: int) -> nn.Module:
    """The classifier that a folder's `config.json` describes, with a head for `num_classes`; its weights are fresh.

    Args:
        source: a folder that `save_pretrained` wrote, or the name of a model in Hugging Face's local cache.
        num_classes: number of logits.
        channels: channels of the images.
    """
    reference = f"hf:{source}"
    transformers, folder = _library("transformers", reference), _folder(source)
    with _in_words(reference):
        config = transformers.AutoConfig.from_pretrained(folder, num_labels=num_classes, num_channels=channels, **LOCAL)
        net = transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False, **PLAIN)
    return Logits(net.float())


def hf_tensors(folder: Path) -> dict[str, Tensor]:
    """The weights in a folder that `save_pretrained` wrote, under the names of the network's state_dict.

    Files carry older names than some networks do, and only the library knows which became which.

    Raises:
        InputError: they cannot be read, or are not all of the network's and no others.
    """
    transformers = _library("transformers", str(folder))
    with _in_words(str(folder)):
        net, info = transformers.AutoModelForImageClassification.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **LOCAL, **PLAIN
        )
    for odd, names in (("lacks weights of", info["missing_keys"]), ("has weights beyond", info["unexpected_keys"])):
        if names:
            raise InputError(f"{folder} {odd} the classifier that it describes ({', '.join(sorted(names)[:3])})")
    tensors: dict[str, Tensor] = net.float().state_dict()
    return tensors


def timm_model(name: str, num_classes: int, channels: int) -> nn.Module:
    """timm's network of that name, with a head for `num_classes`; its weights are fresh."""
    timm = _library("timm", f"timm:{name}")
    if not timm.is_model(name):  # it would take a name such as hf-hub:... to the network
        raise unknown("timm model", name, timm.list_models(), see="timm.list_models()")
    with _in_words(f"timm:{name}"):
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=channels)
    return net


LIBRARIES: dict[str, Callable[[str, int, int], nn.Module]] = {"hf": hf_model, "timm": timm_model}
"""What stands before the colon -> (what stands behind it, classes, channels) -> the network."""


def is_saved(path: Path) -> bool:
    """Whether a file is the weights that `save_pretrained` wrote: the network's description lies beside it."""
    return path.name == WEIGHTS and (path.parent / CONFIG).is_file()


def class_names(folder: Path) -> list[str] | None:
    """The classes that a saved network tells apart, in their order; None where it has no names for them."""
    told = _read(folder / CONFIG).get("id2label", {})
    names = [str(told[place]) for place in sorted(told, key=int)]
    return None if names == [f"LABEL_{place}" for place in range(len(names))] else names


def expected_normalisation(model: str, channels: int) -> str | None:
    """What a library says is done to each pixel of images in [0, 1] before they reach its network, as `--normalize`
    takes it.

    None for other networks, and where nothing is done or it says nothing.

    Raises:
        InputError: it speaks of another number of channels, or of a step that cannot be applied; or no such library,
            network or folder.
    """
    told = _preparation(model)
    return per_pixel(told, channels, model) if told else None


def size_notes(model: str, height: int, width: int) -> list[str]:
    """That a library resizes images for its network, where these have another size, in a sentence."""
    return about_size(size_of(_preparation(model)), height, width, model)


def _preparation(model: str) -> dict[str, Any]:
    """What is done to images before a library's network, as settings of an image processor; empty where it says
    nothing."""
    library, _, source = model.partition(":")
    if library == "timm":
        timm = _library("timm", model)
        with _in_words(model):
            return _as_processor(vars(timm.get_pretrained_cfg(source) or SimpleNamespace()))
    if library != "hf":
        return {}
    folder = _folder(source)
    config, told = _read(folder / CONFIG), _read(folder / PREPROCESSOR)
    if isinstance(config.get("pretrained_cfg"), dict):  # a network of timm in a folder of Hugging Face
        return _as_processor(config["pretrained_cfg"])
    return settings_of(told, config.get("model_type"), model) if told else {}


def _as_processor(told: Mapping[str, Any]) -> dict[str, Any]:
    """timm's description of its images as settings of an image processor."""
    if told.get("mean") is None or told.get("std") is None:
        return {}
    size = told.get("input_size")
    return {"image_mean": told["mean"], "image_std": told["std"], "size": list(size[1:]) if size else None}


def _library(name: str, reference: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # it may be missing, or not fit the other packages here
        raise InputError(
            f"{reference} needs the package {name}, which does not import here ({first_line(error)}); "
            f"install it: pip install {name}"
        ) from error


@contextmanager
def _in_words(reference: str) -> Iterator[None]:
    """A library's own errors, of which there are many kinds, in a sentence."""
    try:
        yield
    except Exception as error:
        raise InputError(f"{reference} cannot be built ({first_line(error)})") from error


def _folder(source: str) -> Path:
    """The folder itself, or that of a model in the local cache."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    hub = _library("huggingface_hub", f"hf:{source}")
    try:
        return Path(hub.snapshot_download(source, local_files_only=True))
    except Exception as error:
        raise InputError(
            f"there is no folder {source}, and no model of that name in Hugging Face's local cache; "
            f"fetch it first: hf download {source}"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; an empty one where there is no file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path} does not read as JSON ({error}); save the network again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not settings; save the network again")
    return content
