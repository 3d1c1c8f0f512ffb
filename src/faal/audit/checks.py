"""Checks of an audit's input, which raise errors. Those that only warn are in `misuse`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset

from faal.arguments import texts
from faal.config import Recipe, parse_epsilon
from faal.config.threat import norm_named
from faal.data.checks import MAX_CLASSES, if_gray, into_range
from faal.errors import InputError, first_line, unknown
from faal.models.number_types import number_type, require_float32
from faal.tensors import dense, require_unmasked, valued

IMAGES = "a float tensor of shape (B, channels, H, W)"

TRAINED = ("epsilon", "norm", "method", "select", "select_on", "chosen_on_test")
"""The settings of a training that an audit compares with its own."""


def training_settings(trained: Mapping[str, Any] | None) -> dict[str, Any]:
    """The known settings of the training, the radius as a number; any setting of a recipe may be among them.

    Raises:
        InputError: an unknown setting, or an invalid value.
    """
    if not isinstance(trained, Mapping | None):
        raise InputError(f"trained is a {type(trained).__name__}; it is a mapping, such as {{'epsilon': '8/255'}}")
    settings = {name: value for name, value in (trained or {}).items() if value is not None}
    known = {item.name for item in fields(Recipe)} | set(TRAINED)
    for name in settings:
        if name not in known:
            raise unknown("entry of trained", str(name), TRAINED)
    if "norm" in settings:
        settings["norm"] = norm_named(str(settings["norm"]))
    if "epsilon" in settings:
        settings["epsilon"] = parse_epsilon(settings["epsilon"])
    return settings


def class_names(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The classes' names as text; None if the caller passed none.

    Raises:
        InputError: not a list of names, or not unique.
    """
    if classes is None:
        return None
    given: Any = classes
    if isinstance(given, list | tuple | range | np.ndarray):
        given = [str(name) if isinstance(name, int | np.integer) else name for name in given]
    names = texts("classes", given, "cat")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise InputError(f"classes names {len(names):,} classes; a classifier has 2 to {MAX_CLASSES:,}")
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InputError(f"classes names {twice!r} twice; give every class a unique name")
    return names


def pixels_of(images: Any, where: str) -> Tensor:
    """An array of images as a tensor.

    Raises:
        InputError: not an array; the message begins with `where` and states how to create one.
    """
    kind = type(images).__name__
    if isinstance(images, Tensor):
        return valued(where, dense(where, images, IMAGES))
    if isinstance(images, DataLoader | Dataset):
        loader = "loader" if isinstance(images, DataLoader) else "torch.utils.data.DataLoader(dataset, 256)"
        raise InputError(
            f"{where} is a {kind}; an audit divides the data itself, so pass all images and all labels at once: "
            f"images, labels = map(torch.cat, zip(*{loader}))"
        )
    try:
        # Flipped channels have a negative stride, which PyTorch does not accept.
        pixels: Tensor = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(
            f"{where} is a {kind} that is not an array of numbers; pass an array (N, channels, H, W), such as "
            "torch.stack(list_of_images), or an object with len and fetch(index)"
        ) from None
    return pixels


def check_model(model: nn.Module) -> None:
    """Check that the model is a network with its weights, in float32."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; an audit needs a torch.nn.Module that returns logits")
    if any(not hasattr(module, "training") for module in model.modules()):
        raise InputError(
            "the model is a frozen ScriptModule, whose weights are no longer parameters; audit it as it was before "
            "torch.jit.freeze or torch.jit.optimize_for_inference"
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor) or tensor.is_meta:
            raise InputError(f"the model's {name} has no values; load or initialise its weights first")
    require_float32(model, "the model", "verdicts are float32, so convert it first: model.float()")


def check_labels(labels: Tensor, num_images: int, num_classes: int | None, index: Tensor | None = None) -> None:
    """Check that there is a label per image, none negative, and none outside the classes if their number is known.

    `index` (N,) are their indices in the data, if these are not all samples.
    """
    if len(labels) != num_images:
        raise InputError(f"there are {num_images} images and {len(labels)} labels; there must be one label per image")
    if num_images == 0:
        raise InputError("there are no images to audit")
    outside = labels < 0 if num_classes is None else (labels < 0) | (labels >= num_classes)
    if outside.any():
        i = int(outside.int().argmax())
        sample = i if index is None else int(index[i])
        numbers = (
            "classes are numbered from 0"
            if num_classes is None
            else f"the {num_classes} classes are 0 to {num_classes - 1}"
        )
        raise InputError(f"sample {sample} has the label {int(labels[i])}, out of range: {numbers}")


def check_images(images: Tensor, index: Tensor) -> None:
    """Check that a fetched block is (B, channels, H, W) in [0, 1]. `index` (B,) are the samples' indices in the
    data."""
    dense("a fetched batch", images, IMAGES, floats=True)
    if images.dim() != 4 or len(images) != len(index) or 0 in images.shape:
        raise InputError(f"a fetched batch must be {IMAGES}, not {tuple(images.shape)} for {len(index)} images")
    inside = (images >= 0) & (images <= 1)
    if not inside.all():
        invalid = int((~inside.flatten(1).all(dim=1)).int().argmax())
        if not images[invalid].isfinite().all():
            raise InputError(
                f"image {int(index[invalid])} has values that are NaN or infinite; find their cause, or "
                "exclude the image"
            )
        low, high = (float(end) for end in images[invalid].aminmax())
        # The range of the full block identifies the format better than that of one dark image.
        advice = into_range(*(float(end) for end in images.nan_to_num(0.5, 0.5, 0.5).aminmax()))
        raise InputError(f"image {int(index[invalid])} has values from {low:g} to {high:g}, outside [0, 1]: {advice}")


def forward(model: nn.Module, images: Tensor) -> Any:
    """The network's output for images (B, channels, H, W).

    Raises:
        InputError: it does not accept images of this shape.
    """
    try:
        return model(images.clone())  # which it may write into
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:  # for example of networks with a fixed image size
        shape = tuple(images.shape[1:])
        raise InputError(
            f"the model does not accept images of shape {shape}: {first_line(error)}{if_gray(shape[0])}"
        ) from error


def check_logits(logits: Tensor, index: Tensor, num_classes: int | None) -> None:
    """Check that the network returns finite, real, dense logits (B, C) for B images and C classes."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(index):
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise InputError(f"the model returns {found} for {len(index)} images; it must return logits (B, classes)")
    if logits.is_complex() or logits.is_quantized or logits.is_meta or logits.layout is not torch.strided:
        raise InputError(f"the model's logits are {number_type(logits)}; it must return real, dense float32")
    if logits.shape[1] < 2:
        raise InputError("the model has one output; an audit needs a logit for each of at least two classes")
    if logits.shape[1] > MAX_CLASSES:
        raise InputError(f"the model has {logits.shape[1]:,} outputs; an audit accepts up to {MAX_CLASSES:,}")
    if num_classes is not None and logits.shape[1] != num_classes:
        raise InputError(
            f"the model has {logits.shape[1]} outputs but there are {num_classes} classes; "
            "audit it on the classes it was trained for, and name those without images too"
        )
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        require_unmasked(logits, "the model")
        invalid = int(index[int((~finite).int().argmax())])
        raise InputError(f"the model's output for image {invalid} is NaN or infinite; its weights are probably damaged")


def check_gradient(model: nn.Module, images: Tensor) -> None:
    """Check that the network's logits for images (B, channels, H, W) have a gradient, which attacks need.

    Whether it is zero is checked by `misuse`.
    """
    with torch.enable_grad():
        logits = model(images.detach().requires_grad_().clone())
    if logits.is_inference():
        raise InputError(
            "the model's forward runs in inference mode, which no gradient passes, and attacks need one; take "
            "torch.inference_mode out of it, or run only the attack clean"
        )
    if not logits.requires_grad:
        raise InputError(
            "the model's output has no gradient to its images, which attacks need: something in its forward removes it "
            "(argmax, detach, no_grad, NumPy); make it differentiable, or run only the attack clean"
        )


def are_probabilities(logits: Tensor) -> bool:
    """Whether all rows of (B, C) are in [0, 1] and sum to 1: a softmax in the model weakens every attack."""
    return bool(((logits >= 0) & (logits <= 1)).all() and ((logits.sum(dim=1) - 1).abs() < 1e-4).all())
