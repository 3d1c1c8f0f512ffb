"""What a foreign checkpoint holds beside its network, or leaves to the network's own class."""

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from faal.models.number_types import COUNTER

MEANS = {"mean", "new_mean", "mu"}
DEVIATIONS = {"std", "new_std", "sigma"}
"""Names that public networks give to the buffers of their own normalisation."""

NUMBERS = re.compile(
    r"n_averaged|initted|step|steps|global_step|num_updates|epoch|epochs|iteration|iterations|decay|ema_decay|"
    r"lr|learning_rate|weight_decay|momentum|best_\w+|\w+_(loss|acc|accuracy)|loss|acc|accuracy|seed|\w+_step"
)
"""Names of single numbers that averages, optimisers and loops store: torch's AveragedModel, ema-pytorch and others."""

TRAINING = {
    *("criterion", "criterions", "criteria", "loss", "losses", "metric", "metrics", "acc", "accuracy", "confmat"),
    *("auroc", "auc", "f1", "ece", "precision", "recall", "optimizer", "optimiser", "optim", "scheduler", "scaler"),
}
"""Words in the names of modules that are called on logits and labels, which Lightning stores beside the network."""

CLASS_WEIGHTS = re.compile(r"(class|pos|loss|ce)_weights?")
"""Names of a loss's weights of the classes."""

Constant = Callable[[Iterable[str]], set[str]]
"""Names of buffers -> those of them that training does not change."""


def of_training(name: str, tensor: Tensor, prefix: str) -> bool:
    """Whether a tensor beside a network is one that its forward pass does not read, by its name.

    Args:
        name: in the file.
        tensor: its value; single numbers are recognised by more names than others.
        prefix: of the network's names in the file. What is below it may be one of its layers.
    """
    if prefix and name.startswith(prefix):
        return False
    own = name.removeprefix(prefix.rpartition(".")[0].rpartition(".")[0] + ".") if prefix else name
    *modules, last = own.split(".")
    if tensor.numel() == 1 and NUMBERS.fullmatch(last) and len(modules) <= 1:
        return True
    if not modules and CLASS_WEIGHTS.fullmatch(last):
        return True
    words = {word for part in (*modules, last) for word in part.lower().split("_")}
    return bool(words & TRAINING)


def missing_buffers(net: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """The buffers of a network that a file lacks, counters aside."""
    return [name for name, _ in net.named_buffers() if name not in weights and not name.endswith(COUNTER)]


@torch.no_grad()
def constant_buffers(net: nn.Module, again: nn.Module, images: Tensor, names: Iterable[str]) -> set[str]:
    """Which of the named buffers are constants of a network's class: initial weights and training do not change them.

    A buffer of zeros or ones alone is where running values begin, and is none, unless it is named as a normalisation.

    Args:
        net: the network, as it was built.
        again: the same with other initial weights; it is run in training mode.
        images: (B, channels, H, W) in [0, 1], some to train on.
        names: of buffers.
    """
    try:
        again.train()(images.clone())
    except Exception:  # a user's network may fail with any error
        return set()
    own, trained = dict(net.named_buffers()), dict(again.named_buffers())
    return {
        name
        for name in names
        if name in trained
        and torch.equal(own[name], trained[name])
        and (name.split(".")[-1] in MEANS | DEVIATIONS or not _begins(own[name]))
    }


def _begins(tensor: Tensor) -> bool:
    return bool((tensor == 0).all() or (tensor == 1).all())
