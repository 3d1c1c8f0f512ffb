"""The plan of an audit from its arguments: checks of all inputs, the samples, the identity of the network."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faal.arguments import as_path, record, texts
from faal.audit.blocks import Source, Subject
from faal.audit.checks import check_labels, check_model, class_names, pixels_of, training_settings
from faal.audit.folder import network_key
from faal.audit.settings import AuditContext, AuditSettings
from faal.data import Grouping, grouping
from faal.data.checks import as_labels, clamped
from faal.data.classwise import in_proportion
from faal.data.images import InMemory
from faal.engine.memory import ChunkedForward
from faal.engine.ordinary import without_inference_tensors
from faal.engine.seeds import generator
from faal.errors import InputError, described

GROUPS = "a mapping from names to each sample's group, such as {'camera': ['A', 'B']}"


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """An audit whose input has been checked.

    Attributes:
        settings: its settings.
        subject: the network with the samples to audit.
        record: model, data, threat, seed and block size as in `audit.json`; the data's fingerprint and classes are
            added after the clean pass.
        classes: the classes' names; None if the caller passed none.
        groupings: groups of the samples to audit.
        train_images: the training images of the network, if known.
        trained: the known settings of its training.
        in_training_mode: whether a part of the network was in training mode.
        notes: the caller's notes, and those on clamped images.
        out: the folder of the result.
    """

    settings: AuditSettings
    subject: Subject
    record: dict[str, Any]
    classes: tuple[str, ...] | None
    groupings: tuple[Grouping, ...]
    train_images: Source | None
    trained: dict[str, Any]
    in_training_mode: bool
    notes: tuple[str, ...]
    out: Path | None

    @property
    def num_classes(self) -> int | None:
        """The required width of the output; None if any is accepted."""
        return None if self.classes is None else len(self.classes)

    def names(self, num_classes: int) -> list[str]:
        """The classes' names; their numbers if the caller passed none."""
        return [str(c) for c in range(num_classes)] if self.classes is None else list(self.classes)


def prepare(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    settings: AuditSettings,
    context: AuditContext,
) -> AuditPlan:
    """Check the input of an audit, and choose its samples.

    Args:
        model: the network.
        images: (N, channels, H, W).
        labels: (N,).
        settings: of the audit.
        context: the information on model and data.

    Raises:
        InputError: the input is invalid; the message states what is wrong, where, and what to do.
    """
    network = _unwrapped(model)
    source, clamped_images = _source(images)
    train_images, clamped_train_images = (
        (None, ()) if context.train_images is None else _source(context.train_images, "train_images")
    )
    classes, trained = class_names(context.classes), training_settings(context.trained)
    groupings = _groupings(context.groups, len(source))
    description = {"name": type(network).__name__, **record("model_record", context.model_record)}
    if not (context.progress is None or callable(context.progress)):
        raise InputError(f"progress is called with (attack, done, all), but it is {described(context.progress)}")
    subject = _subject(network, source, labels, None if classes is None else len(classes), settings, description)
    return AuditPlan(
        settings=settings,
        subject=subject,
        record=_record(subject, description, record("data_record", context.data_record)),
        classes=classes,
        groupings=tuple(each.take(subject.index) for each in groupings),
        train_images=train_images,
        trained=trained,
        in_training_mode=any(module.training for module in network.modules()),
        notes=(*texts("notes", context.notes, "A sentence."), *clamped_images, *clamped_train_images),
        out=None if context.out is None else as_path("out", context.out),
    )


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, checked, without DistributedDataParallel and without tensors of inference mode."""
    check_model(model)
    return without_inference_tensors(model.module if isinstance(model, DistributedDataParallel) else model)


def _subject(
    model: nn.Module,
    source: Source,
    labels: Tensor | ArrayLike,
    num_classes: int | None,
    settings: AuditSettings,
    description: Mapping[str, Any],
) -> Subject:
    """The network with the samples to audit, checked. `description` is the record of the model without its digests."""
    label = as_labels(labels, "labels")
    check_labels(label, len(source), num_classes)
    limit = len(label) if settings.limit is None else settings.limit
    index = in_proportion(label, limit, generator("audit", settings.seed))
    chunked = ChunkedForward(model, settings.batch_size or settings.block_size)
    return Subject(
        model=chunked,
        images=source,
        labels=label[index],
        index=index,
        device=next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu")),
        threat=settings.threat,
        seed=settings.seed,
        block_size=settings.block_size,
        key=str(network_key({**description, "weights": _digest(chunked)})),
    )


def _record(subject: Subject, description: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the subject, as in `audit.json`."""
    return {
        "model": {**description, "weights": _digest(subject.model), "digest": subject.key},
        "data": {"name": None, "split": None, **data, "n": len(subject.index)},
        "threat": asdict(subject.threat),
        "seed": subject.seed,
        "block_size": subject.block_size,
    }


def _source(images: Tensor | ArrayLike | Source, where: str = "images") -> tuple[Source, tuple[str, ...]]:
    """A store unchanged; an array as a store, with a note on clamped values. `where` is its name in a message."""
    if callable(getattr(images, "fetch", None)):
        if not hasattr(images, "__len__"):
            raise InputError(f"{where} has fetch but no length; pass an object with len and fetch(index)")
        return cast(Source, images), ()
    pixels = pixels_of(images, where)
    if not pixels.is_floating_point():
        return InMemory(pixels), ()
    pixels, notes = clamped(pixels.float(), where)
    return InMemory(pixels), notes


def _groupings(groups: Mapping[str, Sequence[object]] | Iterable[Grouping], count: int) -> list[Grouping]:
    """Groups of all samples, a group per sample."""
    try:
        found = [grouping(*item) for item in groups.items()] if isinstance(groups, Mapping) else list(groups)
    except (TypeError, RuntimeError):  # not iterable
        raise InputError(f"groups is {GROUPS}, not {described(groups)}") from None
    for each in found:
        if not isinstance(each, Grouping):
            raise InputError(f"groups is {GROUPS}, and one of them is {described(each)}")
        if sum(other.name == each.name for other in found) > 1:
            raise InputError(f"two groupings are named {each.name!r}; give each a unique name")
        if len(each.index) != count:
            raise InputError(f"there are {count} images and {len(each.index)} groups in {each.name!r}; give one each")
    return found


def _digest(model: nn.Module) -> str:
    """SHA-256 of the weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
