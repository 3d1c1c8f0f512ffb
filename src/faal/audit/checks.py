"""What an audit refuses: input from which no true figure can come. What it only remarks on is in `misuse`."""

import torch
from torch import Tensor, nn

from faal.audit.engines import ENGINES
from faal.errors import InputError, unknown


def check_settings(*, block_size: int, batch_size: int | None, limit: int | None, level: float, engine: str) -> None:
    """That the remaining settings are in their ranges."""
    for name, value in (("block_size", block_size), ("batch_size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if not 0 < level < 1:
        raise InputError(f"the intervals' level is {level:g}; it is a fraction between 0 and 1, such as 0.95")
    if engine not in ENGINES:
        raise unknown("audit engine", engine, ENGINES, see="`faal audit --help`")


def check_model(model: nn.Module) -> None:
    """That the network is one, and in float32."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; an audit needs a torch.nn.Module that returns logits")
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            raise InputError(f"the model's {name} is {kind}; verdicts are float32, so convert it first: model.float()")


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
        low, high = (float(end) for end in images[bad].aminmax())
        if (images < 0).any():
            advice = "undo any normalisation, it belongs inside the model"
        else:
            advice = "divide by 255" if (images > 2).any() else "clamp it"
        raise InputError(f"image {int(index[bad])} runs from {low:g} to {high:g}, outside [0, 1]: {advice}")


def check_logits(logits: Tensor, index: Tensor, num_classes: int | None) -> None:
    """That the network answers a block of B images with finite (B, C) logits, of the width that the classes need."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(index):
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise InputError(f"the model answers {len(index)} images with {found}; it must return logits (B, classes)")
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


def look_like_probabilities(logits: Tensor) -> bool:
    """Whether all rows of (B, C) lie in [0, 1] and sum to 1: a softmax inside the model weakens every attack."""
    return bool(((logits >= 0) & (logits <= 1)).all() and ((logits.sum(dim=1) - 1).abs() < 1e-4).all())
