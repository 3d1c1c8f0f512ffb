"""A network from a path: a checkpoint of this program, a run's folder, a network of the zoo, or third-party weights."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faal import checkpoint
from faal.arguments import as_path
from faal.config import Recipe, Threat
from faal.data import DataSet
from faal.data.checks import if_gray, other_channels, other_classes
from faal.errors import InputError, described
from faal.models.build import Architecture, build_model
from faal.models.export import read_export_record
from faal.models.foreign import unwrapped
from faal.models.libraries import class_names, expected_normalisation, is_hf_weights, size_notes, states_preprocessing
from faal.models.mismatch import MismatchError
from faal.models.native import (
    architecture_and_threat,
    build_with_weights,
    checked_entries,
    is_native,
    read_checkpoint,
    replace_model,
    unfinished_notes,
    weights_path,
)
from faal.models.normalize import same_normalisation
from faal.models.offsets import Offset
from faal.models.provenance import inherited_provenance
from faal.models.public.beside import Constant, constant_buffers
from faal.models.public.forms import load_form
from faal.models.public.robustbench import robustbench_threat
from faal.models.zoo import zoo_name

ASSUMED_THREAT = Threat("linf", 8 / 255)
"""The threat that third-party weights are assumed to be trained against: that of nearly all public robust networks on
small images."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network with its weights, in evaluation mode, and its record."""

    net: nn.Module
    """From images (B, channels, H, W) in [0, 1] to logits (B, C), on the CPU."""
    architecture: Architecture
    record: dict[str, Any]
    """`path`, `sha256` and the architecture, for `audit.json` and `config.yaml`, with its provenance
    (`provenance.inherited_provenance`)."""
    threat: Threat
    """The threat of its training; for third-party weights L-infinity at 8/255, or that of RobustBench's evaluation."""
    trained: Mapping[str, Any]
    """The settings of the recipe that it was trained with, and `chosen_on_test`; empty for third-party weights."""
    notes: list[str]
    """Changes made to load it, assumptions, and peculiarities, in sentences."""


def load_model(path: Path | str, *, model: str | None = None) -> nn.Module:
    """Load the network of a run, trained or repaired, or of the zoo.

    Args:
        path: a run's folder (its best.pt), a checkpoint of this program, or `zoo:NAME`.
        model: the network, where it is a user's `module:function`: the checkpoint contains its name and its weights,
            but code that is named only in a file is not imported. The module is installed, or in the current folder.
            If it is another network than the checkpoint's, the weights are loaded into it, with a warning.

    Returns:
        A module from images (B, channels, H, W), float32 in [0, 1], to logits (B, C), on the CPU, in evaluation mode.
        Weights are float32, for any precision of the training. The normalisation that the network expects is part of
        it; `.net` is then the network without it. If the run has offsets, `.net` is the network without these,
        with its normalisation. PyTorch's random state does not change.

    Raises:
        InputError: there is no such run, it is damaged or of another version, or its network cannot be built here; it
            names code that `model` does not name.

    Example:
        >>> import faal, torch
        >>> net = faal.load_model("zoo:prn18w16-pgd-at")
        >>> net(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])

        A run of a user's network (skipped as a doctest: it needs both):

        >>> net = faal.load_model("runs/resnet", model="mymodels:net")  # doctest: +SKIP
    """
    file = weights_path(as_path("path", path))
    if not isinstance(model, str | None):
        raise InputError(f"model is a network's name, as text, not {described(model)}")
    state, _ = read_checkpoint(file)
    architecture, _ = architecture_and_threat(state, file)
    architecture, notes = replace_model(architecture, model, file)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return build_with_weights(state, architecture, file, model=model).eval()


def open_model(
    path: Path,
    data: DataSet,
    *,
    model: str | None = None,
    width: int | None = None,
    depth: int | None = None,
    normalize: str | None = None,
) -> LoadedModel:
    """Load a network for a data set.

    Args:
        path: a checkpoint of this program, a run's folder (its best.pt), `zoo:NAME`, third-party weights, or a folder
            that Hugging Face's `save_pretrained` wrote.
        data: its images; the number of classes and channels must fit, and the order of classes of the same names.
        model: for third-party weights, the network: a name or `module:function`. A checkpoint of this program needs it
            only where its network is `module:function`, which is imported only if it is named here; if it is another
            network than the checkpoint's, the weights are loaded into it, with a note. None for a folder of Hugging
            Face.
        width: for third-party weights.
        depth: for third-party weights.
        normalize: for third-party weights that expect normalised images: `cifar10`, `cifar100` or `MEAN:STD`. None is
            the normalisation recorded in an exported file, else the one that timm or Hugging Face specifies for their
            network, and `none` for all others. The offsets recorded in an exported file are added to the logits.

    Raises:
        InputError: the network does not fit the data or the options; the message is one sentence.
    """
    published = zoo_name(path)
    path = weights_path(path)
    if model is None and is_hf_weights(path):
        model = f"hf:{path.parent}"
    options = {"--width": width, "--depth": depth, "--normalize": normalize}
    given = ", ".join(name for name, value in options.items() if value not in (None, "none"))
    native = (model is None and not given) or published is not None or is_native(path)
    if native:
        if given:
            raise InputError(f"{path}: this checkpoint records its own network; leave out {given}")
        return _open_native(path, data, model)
    if model is None:
        raise InputError(f"{given} describes third-party weights; name their network with --model")
    return _open_foreign(path, data, model, width=width, depth=depth, normalize=normalize)


def _open_foreign(
    path: Path, data: DataSet, model: str, *, width: int | None, depth: int | None, normalize: str | None
) -> LoadedModel:
    channels, size = _image_shape(data)
    exported, notes_on_file = read_export_record(path), list[str]()
    if exported is not None:
        _require_fit(exported.architecture, data, channels, path)
        notes_on_file += replace_model(exported.architecture, model, path)[1]
        recorded = exported.architecture.normalize
        if normalize is None:
            normalize = recorded
            notes_on_file += [f"Images are normalised by {recorded}, as {path} records."] if recorded != "none" else []
        elif not same_normalisation(normalize, recorded, channels):
            raise InputError(
                f"{path} records that its network expects the normalisation {recorded}, not {normalize}; name the "
                "recorded one"
            )
    expected = expected_normalisation(model, channels) if normalize is None else None
    architecture = Architecture(
        model=model,
        num_classes=data.num_classes,
        channels=channels,
        width=width,
        depth=depth,
        normalize=normalize or expected or "none",
    )
    try:
        net, architecture, loaded = load_form(
            architecture,
            path,
            data,
            model=model,
            exact=exported is not None,
            constants=lambda net: _constants(net, architecture, data, model),
        )
    except MismatchError as error:
        counted = f"; {data.name} has {data.num_classes} classes: {other_classes(data)}" if data.counted else ""
        raise InputError(f"{error}{counted}{if_gray(channels)}") from None
    notes = [*notes_on_file, *loaded]
    if expected:
        notes.append(
            f"Images are normalised by {expected}, as {model} expects; --normalize sets another normalisation."
        )
    if size and (found := size_notes(model, *size)):
        if is_hf_weights(path) and states_preprocessing(path.parent) and not data.sized:
            raise InputError(
                f"{found[0].removesuffix('.')}, or, if its weights are for images as these are, --size "
                f"{size[0]},{size[1]}"
            )
        notes += found
    if exported is not None:
        notes += _class_notes(exported.classes or None, data, path)
    elif is_hf_weights(path):
        notes += _class_notes(class_names(path.parent), data, path)
    if exported is not None and exported.offsets:
        net, architecture = Offset(net, torch.tensor(exported.offsets)), replace(architecture, offsets=True)
        notes.append(f"The offsets that {path} records are added to the logits, class by class.")
    threat = robustbench_threat(model) or ASSUMED_THREAT
    return _loaded(net, architecture, path, checkpoint.digest(path), threat=threat, trained={}, notes=notes)


def _constants(net: nn.Module, architecture: Architecture, data: DataSet, model: str) -> Constant:
    """Which buffers of a network for this data are constants of its class."""

    def constant(names: Iterable[str]) -> set[str]:
        split = data.test or data.train
        if split is None:
            return set()
        images = split.images.fetch(torch.arange(min(4, split.n))).cpu()
        with torch.random.fork_rng(devices=[]):
            again = unwrapped(build_model(architecture, seed=1, model=model))
            return constant_buffers(unwrapped(net), again, images, names)

    return constant


def _open_native(path: Path, data: DataSet, model: str | None) -> LoadedModel:
    channels, size = _image_shape(data)
    state, sha256 = read_checkpoint(path)
    architecture, threat = architecture_and_threat(state, path)
    architecture, replaced = replace_model(architecture, model, path)
    with checked_entries(path):
        provenance = inherited_provenance(state)
    settings = {item.name for item in fields(Recipe)}  # a recipe of another version may have more settings
    trained = {name: value for name, value in state["recipe"].items() if name in settings}
    trained = {**trained, "chosen_on_test": provenance.get("chosen_on_test", False)}
    _require_fit(architecture, data, channels, path)
    net = build_with_weights(state, architecture, path, model=model)
    notes = [
        *replaced,
        *unfinished_notes(path),
        *_class_notes(state.get("classes"), data, path),
        *_size_notes(state.get("image_size"), size),
    ]
    return _loaded(net, architecture, path, sha256, provenance, threat=threat, trained=trained, notes=notes)


def _require_fit(architecture: Architecture, data: DataSet, channels: int, path: Path) -> None:
    """Raise InputError where a recorded network is for other classes or channels than the data's."""
    if architecture.num_classes != data.num_classes:
        raise InputError(
            f"{path} has {architecture.num_classes} classes, {data.name} has {data.num_classes}; {other_classes(data)}"
        )
    if architecture.channels != channels:
        raise InputError(
            f"{path} expects images of {architecture.channels} channels, {data.name} has {channels}; "
            f"{other_channels(channels)}"
        )


def _loaded(
    net: nn.Module,
    architecture: Architecture,
    path: Path,
    sha256: str,
    provenance: Mapping[str, Any] | None = None,
    *,
    threat: Threat,
    trained: Mapping[str, Any],
    notes: list[str],
) -> LoadedModel:
    """The network in evaluation mode with its record."""
    record = {"path": path.name, "sha256": sha256, "architecture": architecture.model, **(provenance or {})}
    if architecture.normalize != "none":
        record["normalize"] = architecture.normalize
    if isinstance(net, Offset):
        record["offsets"] = net.offsets.tolist()
    return LoadedModel(
        net=net.eval(), architecture=architecture, record=record, threat=threat, trained=trained, notes=notes
    )


def _image_shape(data: DataSet) -> tuple[int, Sequence[int]]:
    """Channels of a data set's images, and their height and width; 3 and () where it has no images."""
    split = data.test or data.train
    return (split.images.shape[0], split.images.shape[1:]) if split else (3, ())


def _class_notes(classes: object, data: DataSet, path: Path) -> list[str]:
    """A note where a network was trained on classes with other names than the data's.

    Raises:
        InputError: a class of both has another number in the data, so that labels would mean other classes.
    """
    if not isinstance(classes, list | tuple):
        return []
    trained, present = [str(name) for name in classes], [str(name) for name in data.classes]
    if trained == present:
        return []
    if any(name in present and present.index(name) != i for i, name in enumerate(trained)):
        pairs = enumerate(zip(trained, present, strict=False))
        number, (before, after) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"{path} was trained on the classes of {data.name} in another order (class {number} was "
            f"{before!r} and is {after!r}); put the data's classes in the order of the training"
        )
    only_trained, only_data = (
        [name for name in trained if name not in present],
        [name for name in present if name not in trained],
    )
    return [
        f"The network was trained on the classes {_joined(only_trained)}, the data has {_joined(only_data)} instead."
    ]


def _size_notes(trained: object, present: Sequence[int]) -> list[str]:
    """A note where images are of another size than those of the training."""
    if not isinstance(trained, list | tuple) or not present or list(trained) == list(present):
        return []
    (trained_on, size), (data_size, _) = (
        ("x".join(map(str, shape)), ",".join(map(str, shape))) for shape in (trained, present)
    )
    return [
        f"The network was trained on images of {trained_on} pixels; these are {data_size}; --size {size} resizes them."
    ]


def _joined(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
