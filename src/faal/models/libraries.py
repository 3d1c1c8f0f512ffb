"""Networks of other libraries, where these are installed: `hf:NAME_OR_DIR` of Hugging Face, `timm:NAME`, and
`robustbench:NAME[:DATASET[:THREAT]]`.

All are built from their description and get their weights from a file, like any other network. Nothing is downloaded,
and no code in a folder is run: a network that needs its own code is rejected.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from faal.bounds.plain import parse_json
from faal.errors import InputError, first_line, unknown
from faal.models.preprocessing import complete_settings, input_size, normalisation_text, resize_notes

CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
"""The files of `save_pretrained`: the network's configuration, its weights, and the preprocessing of its images."""

LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of every call to transformers."""

PLAIN = {"attn_implementation": "eager"}
"""Arguments of every network of transformers: its configuration may name a kernel, which would be downloaded and
run."""


class Logits(nn.Module):
    """A Hugging Face classifier as a network from images to logits.

    Args:
        net: called with `pixel_values=`, returns an object that has `logits`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> logits (B, C)."""
        logits: Tensor = self.net(pixel_values=images).logits
        return logits


def hf_model(source: str, num_classes: int, channels: int) -> nn.Module:
    """The classifier that a folder's `config.json` describes, with a head for `num_classes` and random weights.

    Args:
        source: a folder that `save_pretrained` wrote, or the name of a model in Hugging Face's local cache.
        num_classes: number of logits.
        channels: channels of the images.
    """
    reference = f"hf:{source}"
    transformers, folder = import_library("transformers", reference), _folder(source)
    with library_errors(reference):
        config = transformers.AutoConfig.from_pretrained(folder, num_labels=num_classes, num_channels=channels, **LOCAL)
        net = transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False, **PLAIN)
    return Logits(net.float())


def hf_tensors(folder: Path) -> dict[str, Tensor]:
    """The weights in a folder that `save_pretrained` wrote, under the names of the network's state_dict.

    Some files have the names of older versions, and only the library has the mapping to the current ones.

    Raises:
        InputError: they cannot be read, or are not exactly the network's.
    """
    transformers = import_library("transformers", str(folder))
    with library_errors(str(folder)):
        net, info = transformers.AutoModelForImageClassification.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **LOCAL, **PLAIN
        )
    for fault, names in (
        ("lacks weights of", info["missing_keys"]),
        ("has more weights than", info["unexpected_keys"]),
    ):
        if names:
            raise InputError(f"{folder} {fault} the classifier that it describes ({', '.join(sorted(names)[:3])})")
    tensors: dict[str, Tensor] = net.float().state_dict()
    return tensors


def timm_model(name: str, num_classes: int, channels: int) -> nn.Module:
    """timm's network of that name, with a head for `num_classes` and random weights."""
    timm = import_library("timm", f"timm:{name}")
    if not timm.is_model(name):  # timm would download a name such as hf-hub:...
        raise unknown("timm model", name, timm.list_models(), see="timm.list_models()")
    with library_errors(f"timm:{name}"):
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=channels)
    return net


def robustbench_model(source: str, num_classes: int, channels: int) -> nn.Module:
    """RobustBench's network of that name, with random weights (`public/robustbench.py`)."""
    from faal.models.public import robustbench  # which needs this module

    return robustbench.robustbench_model(source, num_classes, channels)


LIBRARIES: dict[str, Callable[[str, int, int], nn.Module]] = {
    "hf": hf_model,
    "timm": timm_model,
    "robustbench": robustbench_model,
}
"""Name before the colon -> (name after it, classes, channels) -> the network."""


def is_hf_weights(path: Path) -> bool:
    """Whether a file is the weights that `save_pretrained` wrote: the network's configuration is in the same folder."""
    return path.name == WEIGHTS and (path.parent / CONFIG).is_file()


def class_names(folder: Path) -> list[str] | None:
    """The names of a saved network's classes, in their order; None where it has none."""
    labels = _read(folder / CONFIG).get("id2label", {})
    names = [str(labels[i]) for i in sorted(labels, key=int)]
    return None if names == [f"LABEL_{i}" for i in range(len(names))] else names


def expected_normalisation(model: str, channels: int) -> str | None:
    """The normalisation of images in [0, 1] that a library specifies for its network, in the form of `--normalize`.

    None for other networks, and where the library specifies no normalisation.

    Raises:
        InputError: it is for another number of channels, or has a step that cannot be applied; or no such library,
            network or folder.
    """
    settings = _processor_settings(model)
    return normalisation_text(settings, channels, model) if settings else None


def states_preprocessing(folder: Path) -> bool:
    """Whether a saved network's own file states its preprocessing; timm's states that of the published weights."""
    return (folder / PREPROCESSOR).is_file() and not isinstance(_read(folder / CONFIG).get("pretrained_cfg"), dict)


def size_notes(model: str, height: int, width: int) -> list[str]:
    """A note where a library resizes images for its network, and these have another size."""
    return resize_notes(input_size(_processor_settings(model)), height, width, model)


def _processor_settings(model: str) -> dict[str, Any]:
    """The preprocessing that a library specifies for its network, as settings of an image processor; empty for none."""
    library, _, source = model.partition(":")
    if library == "timm":
        timm = import_library("timm", model)
        with library_errors(model):
            return _as_processor(vars(timm.get_pretrained_cfg(source) or SimpleNamespace()))
    if library != "hf":
        return {}
    folder = _folder(source)
    config, settings = _read(folder / CONFIG), _read(folder / PREPROCESSOR)
    if isinstance(config.get("pretrained_cfg"), dict):  # a network of timm in a folder of Hugging Face
        return _as_processor(config["pretrained_cfg"])
    return complete_settings(settings, config.get("model_type"), model) if settings else {}


def _as_processor(config: Mapping[str, Any]) -> dict[str, Any]:
    """timm's `pretrained_cfg` as settings of an image processor."""
    if config.get("mean") is None or config.get("std") is None:
        return {}
    size = config.get("input_size")
    return {"image_mean": config["mean"], "image_std": config["std"], "size": list(size[1:]) if size else None}


def import_library(name: str, reference: str, *, install: str | None = None) -> Any:
    """A module of a package that may be missing.

    Args:
        name: the module's name.
        reference: the network that needs it, for the error.
        install: what pip is asked for; the module's name if None.

    Raises:
        InputError: it cannot be imported; the message says what to install.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # it may be missing, or incompatible with other packages
        raise InputError(
            f"{reference} needs the package {name.partition('.')[0]}, which cannot be imported ({first_line(error)}); "
            f"install it: pip install {install or name}"
        ) from error


@contextmanager
def library_errors(reference: str) -> Iterator[None]:
    """The context in which a library's errors, of any type, become an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{reference} cannot be built ({first_line(error)})") from error


def _folder(source: str) -> Path:
    """The folder `source`, or that of the model in the local cache."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    hub = import_library("huggingface_hub", f"hf:{source}")
    try:
        return Path(hub.snapshot_download(source, local_files_only=True))
    except Exception as error:
        raise InputError(
            f"there is no folder {source}, and no model of that name in Hugging Face's local cache; "
            f"download it first: hf download {source}"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; empty where there is no file."""
    try:
        content = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); save the network again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} contains a {type(content).__name__}, not settings; save the network again")
    return content
