"""From a path on the command line to a network: our own checkpoints, run folders, the zoo, other people's weights."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from torch import nn

from faal import checkpoint
from faal.config import Recipe, Threat
from faal.data import DataSet
from faal.data.checks import if_gray, other_channels, other_classes
from faal.errors import InputError
from faal.models.build import Architecture, build_model
from faal.models.foreign import load_weights
from faal.models.libraries import CONFIG, WEIGHTS, class_names, expected_normalisation, is_saved, size_notes
from faal.models.mismatch import MismatchError
from faal.models.number_types import require_types
from faal.models.offsets import Offset
from faal.models.own import require_named
from faal.models.provenance import inherited_provenance
from faal.models.zoo import read_zoo, zoo_name
from faal.reading import read_tensors

LOG = "metrics.jsonl"
"""What a run writes as it goes, in the folder of its checkpoints; its last event is `end`."""

FOREIGN = Threat("linf", 8 / 255)
"""What foreign weights are taken to be trained at: nearly all public robust networks on small images are."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network with its weights, in evaluation mode, and what is to be recorded about it."""

    net: nn.Module
    architecture: Architecture
    record: dict[str, Any]
    """`path`, `sha256` and the architecture, for `audit.json` and `config.yaml`, with what it hands on of what it has
    seen (`provenance.inherited_provenance`)."""
    threat: Threat
    """What it was trained against; L-infinity at 8/255 for foreign weights."""
    trained: Mapping[str, Any]
    """The settings of the recipe that it was trained with, and `chosen_on_test`; none for foreign weights."""
    notes: list[str]
    """What was done to make it load, what was assumed, and what is odd about it, in sentences."""


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
        path: a checkpoint of this program, a run's folder (its best.pt), `zoo:NAME`, foreign weights, or a folder that
            Hugging Face's `save_pretrained` wrote.
        data: what it will see; the number of classes and channels must fit, and the order of classes of the same names.
        model: for foreign weights, the network: a name or `module:function`. A checkpoint of ours needs it only where
            its network is `module:function`, which no file makes us import; where it names another network than the
            checkpoint, that one gets the weights, and a note says so. None for a folder of Hugging Face.
        width: for foreign weights.
        depth: for foreign weights.
        normalize: for foreign weights that expect normalised images: `cifar10`, `cifar100` or `MEAN:STD`. None is what
            timm or Hugging Face says of their network, and `none` for all others.

    Raises:
        InputError: in one sentence, whatever does not fit.
    """
    published, seen = zoo_name(path), dict[str, Any]()
    path = file_of(path)
    if model is None and is_saved(path):
        model = f"hf:{path.parent}"
    options = {"--width": width, "--depth": depth, "--normalize": normalize}
    said = ", ".join(name for name, value in options.items() if value not in (None, "none"))
    split = data.test or data.train
    channels = split.images.shape[0] if split else 3
    ours = (model is None and not said) or published is not None or _is_ours(path)
    if ours and said:
        raise InputError(f"{path}: this checkpoint knows its own network; leave out {said}")
    if model is not None and not ours:
        expected = expected_normalisation(model, channels) if normalize is None else None
        architecture = Architecture(
            model=model,
            num_classes=data.num_classes,
            channels=channels,
            width=width,
            depth=depth,
            normalize=normalize or expected or "none",
        )
        net = build_model(architecture, seed=0, model=model)
        try:
            notes = load_weights(net, path)
        except MismatchError as error:
            counted = f"; {data.name} has {data.num_classes} classes: {other_classes(data)}" if data.counted else ""
            raise InputError(f"{error}{counted}{if_gray(channels)}") from None
        if expected:
            notes.append(f"Images are normalised by {expected} for {model}, as it expects; --normalize says otherwise.")
        if split:
            notes += size_notes(model, *split.images.shape[1:])
        if is_saved(path):
            notes += _compared(class_names(path.parent), data, path)
        sha256, threat, trained = checkpoint.digest(path), FOREIGN, {}
    elif not ours:
        raise InputError(f"{said} describes foreign weights; say which network they are for with --model")
    else:
        state, sha256 = stored(path)
        architecture, threat = described(state, path)
        architecture, other = as_named(architecture, model, path)
        with understood(path):
            seen = inherited_provenance(state)
        known = {item.name for item in fields(Recipe)}  # another version's recipe may have settings beyond
        trained = {name: value for name, value in state["recipe"].items() if name in known}
        trained = {**trained, "chosen_on_test": seen.get("chosen_on_test", False)}
        if architecture.num_classes != data.num_classes:
            raise InputError(
                f"{path} tells {architecture.num_classes} classes apart, {data.name} has {data.num_classes}; "
                f"{other_classes(data)}"
            )
        if architecture.channels != channels:
            raise InputError(
                f"{path} takes images of {architecture.channels} channels, {data.name} has {channels}; "
                f"{other_channels(channels)}"
            )
        net = restored(state, architecture, path, model=model)
        notes = [
            *other,
            *unfinished(path),
            *_compared(state.get("classes"), data, path),
            *_resized(state.get("image_size"), split.images.shape[1:] if split else ()),
        ]
    record = {"path": path.name, "sha256": sha256, "architecture": architecture.model, **seen}
    if architecture.normalize != "none":
        record["normalize"] = architecture.normalize
    if isinstance(net, Offset):
        record["offsets"] = net.offsets.tolist()
    return LoadedModel(
        net=net.eval(), architecture=architecture, record=record, threat=threat, trained=trained, notes=notes
    )


def _is_ours(path: Path) -> bool:
    content = read_tensors(path)
    return isinstance(content, Mapping) and content.get("format") == checkpoint.FORMAT


def stored(path: Path) -> tuple[dict[str, Any], str]:
    """What a checkpoint of ours, or `zoo:NAME`, holds, and the SHA-256 of its file.

    Raises:
        InputError: it cannot be read, or is not ours.
    """
    published = zoo_name(path)
    return (checkpoint.load(path), checkpoint.digest(path)) if published is None else read_zoo(published)


def file_of(path: Path) -> Path:
    """The file of weights in a run's folder, or in one of Hugging Face's; any other path as it is.

    Raises:
        InputError: the folder holds none.
    """
    if not path.is_dir():
        return path
    folder = path
    if (folder / "best.pt").exists():
        return folder / "best.pt"
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder} holds no best.pt: train there first, or name a checkpoint such as last.pt")
    if not (folder / WEIGHTS).exists():
        raise InputError(
            f"{folder} holds a {CONFIG} but no {WEIGHTS}; save its network again in that form, in one file"
        )
    return folder / WEIGHTS


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """The context in which entries of a checkpoint of ours are read.

    Raises:
        InputError: one was missing or of another kind, as in a checkpoint of another version or a damaged one.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path} does not describe a network that this version can build ({reason}); take the version that wrote "
            "it, or another checkpoint"
        ) from None


def described(state: Mapping[str, Any], path: Path) -> tuple[Architecture, Threat]:
    """The architecture in a checkpoint of ours, and the threat that it was trained against.

    Args:
        state: what the checkpoint holds.
        path: what to call it.

    Raises:
        InputError: it does not say, or says what this version cannot build.
    """
    kinds = get_type_hints(Architecture)
    with understood(path):
        told = dict(state["architecture"])
        odd = [name for name, value in told.items() if name not in kinds or not isinstance(value, kinds[name])]
        if odd:
            raise ValueError(f"it has {odd[0]} {told[odd[0]]!r}")
        recipe = state["recipe"]
        return Architecture(**told), Threat(recipe.get("norm", "linf"), float(recipe["epsilon"]))


def as_named(architecture: Architecture, model: str | None, path: Path) -> tuple[Architecture, list[str]]:
    """A checkpoint's architecture with the network that the call names, and the difference in a sentence.

    Args:
        architecture: the recorded one.
        model: the network that this very call names; None where it names none.
        path: what to call the checkpoint.

    Raises:
        InputError: the checkpoint names code, and the call does not.
    """
    recorded = architecture.model
    if model is None:
        require_named(recorded, None, str(path))
    if model in (None, recorded):
        return architecture, []
    note = f"{path} records its network as {recorded}; its weights are loaded into {model}, which --model names."
    if ":" in model:  # such a network decides its own size
        architecture = replace(architecture, width=None, depth=None)
    return replace(architecture, model=model), [note]


def restored(
    state: Mapping[str, Any], architecture: Architecture, path: Path, *, model: str | None = None
) -> nn.Module:
    """The network of a checkpoint of ours with its weights.

    Args:
        state: what the checkpoint holds.
        architecture: what to build; `module:function` only where `model` is the same.
        path: what to call the checkpoint.
        model: the network that this very call names.

    Raises:
        InputError: the weights are missing, another network's, or of a type of number that does not mean its own value;
            the network is code that the call does not name.
    """
    net = build_model(architecture, seed=0, model=model)  # the seed spares the caller's generator
    try:
        require_types(net.state_dict(), state["weights"], path)
        net.load_state_dict(state["weights"])
    except (KeyError, TypeError, AttributeError, RuntimeError):
        if (recorded := state["architecture"]["model"]) != architecture.model:
            raise InputError(
                f"{path} holds the weights of {recorded}, which do not fit {architecture.model}; name with --model "
                "the network that they are of"
            ) from None
        raise InputError(
            f"{path} does not hold the weights of the {architecture.model} that it describes: it was changed or "
            "damaged, so take another checkpoint, or train again"
        ) from None
    return net


def _compared(classes: object, data: DataSet, path: Path) -> list[str]:
    """What is odd about the classes that a network was trained on, in sentences.

    Raises:
        InputError: a class that both have has another number in the data, so that labels would mean other classes.
    """
    if not isinstance(classes, list | tuple):
        return []
    trained, seen = [str(name) for name in classes], [str(name) for name in data.classes]
    if trained == seen:
        return []
    if any(name in seen and seen.index(name) != place for place, name in enumerate(trained)):
        pairs = enumerate(zip(trained, seen, strict=False))
        place, (was, is_now) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"{path} was trained on the classes of {data.name} in another order (class {place} was "
            f"{was!r} and is {is_now!r}); put the data's classes in the order of the training"
        )
    gone, new = [name for name in trained if name not in seen], [name for name in seen if name not in trained]
    return [f"The network was trained on the classes {_listed(gone)}, the data has {_listed(new)} in their place."]


def unfinished(path: Path) -> list[str]:
    """That a best.pt is that of a run that has not come to its end, in a sentence."""
    log = path.with_name(LOG)
    text = log.read_text(encoding="utf-8", errors="replace") if path.name == "best.pt" and log.is_file() else ""
    if not text or '"event": "end"' in text:
        return []
    epochs = text.count('"event": "epoch"')
    return [
        f"The run in {path.parent} has not come to its end: {path.name} is the best network of its first {epochs} "
        "epochs and may yet change; give the same command again to go on."
    ]


def _resized(trained: object, seen: Sequence[int]) -> list[str]:
    """That a network sees images of another size than in its training, in a sentence."""
    if not isinstance(trained, list | tuple) or not seen or list(trained) == list(seen):
        return []
    (was, size), (now, _) = (("x".join(map(str, shape)), ",".join(map(str, shape))) for shape in (trained, seen))
    return [f"The network was trained on images of {was} pixels and sees {now}; --size {size} makes them alike."]


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
