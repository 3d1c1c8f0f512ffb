"""Checks that a network, its data and a recipe fit, before anything is written. All raise InputError."""

import torch
from torch import Tensor, nn

from faal.audit.checks import check_gradient
from faal.config import Recipe
from faal.data import DataSet
from faal.data.checks import if_gray, other_channels
from faal.engine import processes
from faal.engine.numerics import FORWARD_ERRORS, Numerics
from faal.errors import InputError, first_line
from faal.inner.modes import attacked
from faal.methods import METHODS, method, searches_offsets
from faal.models import Architecture
from faal.step import Learner, attack_settings
from faal.tensors import require_unmasked


def check_method(recipe: Recipe, *, trained: bool) -> None:
    """Check the attack of training; for a method without training, that there is a trained network, and that
    offsets are not chosen on test images. Raises InputError."""
    if method(recipe.method).trains:
        check_attack(recipe)
        return
    if not trained:
        raise InputError(
            f"{recipe.method} has no training and needs a trained network: faal repair CHECKPOINT --method "
            f"{recipe.method}; to combine it with a method that trains, set offsets to true"
        )
    if recipe.select_on == "test":
        raise InputError("offsets are never chosen on test images; leave select_on at held-out")


def check_data(data: DataSet, architecture: Architecture) -> None:
    """Check that there are training images, of the network's channels and classes. Raises InputError."""
    if data.train is None:
        raise InputError(f"{data.name} has no training images; training needs some")
    if data.num_classes != architecture.num_classes:
        raise InputError(f"{data.name} has {data.num_classes} classes, the network {architecture.num_classes}")
    channels = data.train.images.shape[0]
    if channels != architecture.channels:
        raise InputError(
            f"{data.name} has images of {channels} channels; the network expects {architecture.channels}: "
            f"{other_channels(channels)}"
        )


def check_groups(data: DataSet, name: str) -> None:
    """Check that a method can weight groups, if the data has groups other than classes. Raises InputError."""
    if data.groups is not data.classes and not method(name).rule.any_groups:
        supported = ", ".join(name for name, row in METHODS.items() if row.rule.any_groups)
        raise InputError(f"{name} weights classes only and cannot weight other groups; these can: {supported}")


def check_attack(recipe: Recipe) -> None:
    """Check that the attack of training has a gradient at its start. Raises InputError."""
    adversary = method(recipe.method).adversary
    if adversary is None:
        return
    for attack in (attack_settings(adversary, recipe, step) for step in (0, 1)):  # both losses where they alternate
        if (attack.loss, attack.start) == ("kl", "zero"):
            raise InputError(
                f"the attack of {recipe.method} on the KL divergence cannot start from the images themselves, where "
                "its gradient is zero; set attack_start to gaussian or uniform"
            )


@torch.no_grad()
def check_logits(learner: Learner, images: Tensor, epoch: int) -> None:
    """Check that the logits of a network in training, for images (B, channels, H, W), are finite. Raises InputError."""
    with attacked(learner.net), learner.numerics.autocast():
        logits = learner.net(images)
    if not bool(logits.isfinite().all()):
        require_unmasked(logits, "the network")
        raise InputError(
            f"the network's logits are no longer finite in epoch {epoch}: training diverged; lower --lr, or check for "
            "damaged images, and train into another folder (--out)"
        )


@torch.no_grad()
def check_net(net: nn.Module, images: Tensor, num_classes: int, recipe: Recipe) -> None:
    """Check that the network returns logits of all classes for images (2, channels, H, W), with the gradients that the
    recipe's training needs. Raises InputError."""
    try:
        with attacked(net):
            logits = net(images.clone())
    except FORWARD_ERRORS as error:  # for example of networks with a fixed input size
        shape = tuple(images.shape[1:])
        raise InputError(
            f"the network does not accept images of shape {shape}: {first_line(error)}{if_gray(shape[0])}"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        returned = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"the network returns {returned} for two images; it must return logits of shape (2, {num_classes}), "
            "one for each class of the data"
        )
    require_unmasked(logits, "the network")
    _check_differentiable(net, images, recipe)


def _check_differentiable(net: nn.Module, images: Tensor, recipe: Recipe) -> None:
    """Check that the logits have a gradient to the images where they are attacked, else to the weights.

    Raises InputError.
    """
    row = method(recipe.method)
    if row.adversary is not None or searches_offsets(recipe):
        with attacked(net):
            check_gradient(net, images)
    elif row.trains:
        weights = [weight for weight in net.parameters() if weight.requires_grad]
        with attacked(net), torch.enable_grad():  # evaluation mode: BatchNorm's running statistics are not to change
            for weight in weights:
                weight.requires_grad_(True)
            logits = net(images.clone())
        if not logits.requires_grad:
            raise InputError(
                "the network's output has no gradient to its weights, which training needs: something in its forward "
                "removes it (inference_mode, no_grad, detach, argmax, NumPy); make it differentiable"
            )


def check_alike(numerics: Numerics) -> None:
    """Check that all processes use the same precision and memory format. Raises InputError."""
    chosen = sorted({f"{name}, {memory}" for name, memory in processes.gather_objects(numerics.form)})
    if len(chosen) > 1:
        raise InputError(
            f"the machines of this run would train with different arithmetic ({' and '.join(chosen)}): "
            "start it on machines of the same kind, or with --precision float32"
        )
