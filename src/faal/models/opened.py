"""From a path on the command line to a network: our own checkpoints, run folders, other people's weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from faal import checkpoint
from faal.data import DataSet
from faal.errors import InputError
from faal.models.build import Architecture, build_model
from faal.models.foreign import load_weights


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A network with its weights, in evaluation mode, and what is to be recorded about it."""

    net: nn.Module
    architecture: Architecture
    record: dict[str, Any]
    """`path`, `sha256` and the architecture, for `audit.json` and `config.yaml`."""
    epsilon: float
    """What it was trained at; 8/255 for foreign weights."""
    notes: list[str]
    """What was done to make it load, in sentences."""


def open_model(
    path: Path,
    data: DataSet,
    *,
    model: str | None = None,
    width: int | None = None,
    depth: int | None = None,
    normalize: str | None = None,
) -> Opened:
    """Load a network for a data set.

    Args:
        path: a checkpoint of this program, a run's folder (its best.pt), or foreign weights.
        data: what it will see; the number of classes and channels must fit.
        model: for foreign weights, the network: a name or `module:function`. None for our own checkpoints.
        width: for foreign weights.
        depth: for foreign weights.
        normalize: for foreign weights that expect normalised images: `cifar10`, `cifar100` or `MEAN:STD`.

    Raises:
        InputError: in one sentence, whatever does not fit.
    """
    if path.is_dir():
        path = path / "best.pt"
    split = data.test or data.train
    channels = split.images.shape[0] if split else 3
    if model is None:
        given = {"--width": width, "--depth": depth, "--normalize": normalize}
        extra = [name for name, value in given.items() if value not in (None, "none")]
        if extra:
            raise InputError(
                f"{', '.join(extra)} describes foreign weights; say which network they are for with --model"
            )
        state = checkpoint.load(path)
        architecture = Architecture(**state["architecture"])
        if architecture.num_classes != data.num_classes:
            raise InputError(
                f"{path} tells {architecture.num_classes} classes apart, {data.name} has {data.num_classes}; "
                "name the data that it was trained for with --data"
            )
        if architecture.channels != channels:
            raise InputError(f"{path} takes images of {architecture.channels} channels, {data.name} has {channels}")
        net = build_model(architecture)
        net.load_state_dict(state["weights"])
        notes: list[str] = []
        epsilon = float(state["recipe"]["epsilon"])
    else:
        architecture = Architecture(
            model=model,
            num_classes=data.num_classes,
            channels=channels,
            width=width,
            depth=depth,
            normalize=normalize or "none",
        )
        net = build_model(architecture, seed=0)
        notes = load_weights(net, path)
        epsilon = 8 / 255
    record = {"path": path.name, "sha256": checkpoint.digest(path), "architecture": architecture.model}
    return Opened(net=net.eval(), architecture=architecture, record=record, epsilon=epsilon, notes=notes)
