"""What an audit refuses: input from which no true figure can come. What it only remarks on is in `misuse`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from faal.config import Recipe, parse_epsilon
from faal.config.threat import LARGEST
from faal.data.checks import into_range
from faal.errors import InputError, unknown
from faal.models.number_types import number_type, require_float32

TOLD = ("epsilon", "norm", "method", "select", "select_on", "chosen_on_test")
"""What an audit asks of the settings of a training."""


def training_settings(trained: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a caller tells of the training, its radius as a number; all settings of a recipe may be among it.

    Raises:
        InputError: a setting that no training has, or a value that it cannot have.
    """
    if not isinstance(trained, Mapping | None):
        raise InputError(f"trained is a {type(trained).__name__}; it is a mapping, such as {{'epsilon': '8/255'}}")
    told = {name: value for name, value in (trained or {}).items() if value is not None}
    known = {item.name for item in fields(Recipe)} | set(TOLD)
    for name in told:
        if name not in known:
            raise unknown("entry of trained", str(name), TOLD)
    if "norm" in told and told["norm"] not in LARGEST:
        raise unknown("norm", str(told["norm"]), LARGEST)
    if "epsilon" in told:
        told["epsilon"] = parse_epsilon(told["epsilon"])
    return told


def class_names(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The classes' names as text; None where a caller has none.

    Raises:
        InputError: not a list of names, or a name that two classes share.
    """
    if classes is None:
        return None
    if isinstance(classes, str) or not hasattr(classes, "__len__"):
        raise InputError(f"classes is {classes!r}; give a list of the classes' names, in the order of the logits")
    names = tuple(map(str, classes))
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"classes names {name!r} twice; give every class a name of its own")
    return names


def pixels_of(images: Any, where: str) -> Tensor:
    """An array of images as a tensor.

    Raises:
        InputError: no array; the message begins with `where` and says how to make one.
    """
    kind = type(images).__name__
    if isinstance(images, DataLoader | Dataset):
        loader = "loader" if isinstance(images, DataLoader) else "torch.utils.data.DataLoader(dataset, 256)"
        raise InputError(
            f"{where} is a {kind}; an audit cuts its own blocks, so hand over all images and all labels at once: "
            f"images, labels = map(torch.cat, zip(*{loader}))"
        )
    try:
        # A flip of the channels has a stride that PyTorch does not take.
        pixels: Tensor = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{where} is a {kind} that makes no array of numbers; give an array (N, channels, H, W), such as "
            "torch.stack(list_of_images), or an object with len and fetch(index)"
        ) from None
    return pixels


def check_model(model: nn.Module) -> None:
    """That the network is one, with its weights, and in float32."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; an audit needs a torch.nn.Module that returns logits")
    if any(not hasattr(module, "training") for module in model.modules()):
        raise InputError(
            "the model is a frozen ScriptModule, whose weights are no parameters any more; audit it as it was before "
            "torch.jit.freeze or torch.jit.optimize_for_inference"
        )
    require_float32(model, "the model", "verdicts are float32, so convert it first: model.float()")


def check_labels(labels: Tensor, num_images: int, num_classes: int | None, index: Tensor | None = None) -> None:
    """That there is a label per image, none negative, and none beyond the classes where their number is known.

    `index` says which samples these are, where they are not all of them.
    """
    if len(labels) != num_images:
        raise InputError(f"there are {num_images} images and {len(labels)} labels; there must be one label per image")
    if num_images == 0:
        raise InputError("there are no images to audit")
    outside = labels < 0 if num_classes is None else (labels < 0) | (labels >= num_classes)
    if outside.any():
        place = int(outside.int().argmax())
        sample = place if index is None else int(index[place])
        numbers = (
            "classes are numbered from 0"
            if num_classes is None
            else f"the {num_classes} classes are 0 to {num_classes - 1}"
        )
        raise InputError(f"sample {sample} has the label {int(labels[place])}, out of range: {numbers}")


def check_images(images: Tensor, index: Tensor) -> None:
    """That a fetched block is in [0, 1]. `index` (B,) says which samples these are."""
    inside = (images >= 0) & (images <= 1)
    if not inside.all():
        bad = int((~inside.flatten(1).all(dim=1)).int().argmax())
        if not images[bad].isfinite().all():
            raise InputError(
                f"image {int(index[bad])} has values that are NaN or infinite; find out where they come from, or "
                "leave it out"
            )
        low, high = (float(end) for end in images[bad].aminmax())
        # The whole block says more of what the images are than a dark one of them.
        advice = into_range(*(float(end) for end in images.nan_to_num(0.5, 0.5, 0.5).aminmax()))
        raise InputError(f"image {int(index[bad])} runs from {low:g} to {high:g}, outside [0, 1]: {advice}")


def check_logits(logits: Tensor, index: Tensor, num_classes: int | None) -> None:
    """That the network returns finite, real, dense logits (B, C) for B images, of the width that the classes need."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(index):
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise InputError(f"the model answers {len(index)} images with {found}; it must return logits (B, classes)")
    if logits.is_complex() or logits.is_quantized or logits.layout is not torch.strided:
        raise InputError(f"the model's logits are {number_type(logits)}; let it return real, dense float32")
    if logits.shape[1] < 2:
        raise InputError("the model has one output; an audit needs a logit for each of at least two classes")
    if num_classes is not None and logits.shape[1] != num_classes:
        raise InputError(
            f"the model has {logits.shape[1]} outputs but there are {num_classes} classes; "
            "audit it on the classes it was trained for, and name those without images too"
        )
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        bad = int(index[int((~finite).int().argmax())])
        raise InputError(f"the model's output for image {bad} is NaN or infinite; its weights are probably broken")


def check_gradient(model: nn.Module, images: Tensor) -> None:
    """That an attack can ask for the gradient of the network's answer to images (B, channels, H, W).

    Being zero is another matter: that is seen by `misuse`.
    """
    with torch.enable_grad():
        logits = model(images.detach().requires_grad_())
    if not logits.requires_grad:
        raise InputError(
            "the model's output has no gradient to its images, so that no attack can search: something in its forward "
            "cuts it (argmax, detach, no_grad, NumPy); make it differentiable, or ask for the attack clean alone"
        )


def are_probabilities(logits: Tensor) -> bool:
    """Whether all rows of (B, C) lie in [0, 1] and sum to 1: a softmax inside the model weakens every attack."""
    return bool(((logits >= 0) & (logits <= 1)).all() and ((logits.sum(dim=1) - 1).abs() < 1e-4).all())
