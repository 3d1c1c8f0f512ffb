"""The table of networks, and building a network from its `Architecture`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import nn

from faal.config import Recipe
from faal.data import DataSet
from faal.engine.seeds import derive_seed
from faal.errors import InputError, unknown
from faal.models.architectures.preact_resnet import FORMS, PLAIN, Form, PreActResNet
from faal.models.architectures.resnet import ResNet
from faal.models.architectures.small import NormLayer, SmallNet
from faal.models.architectures.wide_resnet import WideResNet
from faal.models.libraries import LIBRARIES
from faal.models.normalize import Normalized, parse_normalize, reverses_channels
from faal.models.offsets import Offset
from faal.models.own import FAMILY, is_foreign, own_model, require_named

MAX_DEPTH = 10_000
"""The largest depth: a file may name any, and the time to build a network grows with it."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The arguments that define a network; checkpoints store them as a plain dict.

    Raises:
        InputError: a number out of range, or a normalisation that does not fit the channels.
    """

    model: str
    """A name of the table, a Wide ResNet as `wrn<depth>-<widen>`, `timm:NAME`, `hf:NAME_OR_DIR`,
    `robustbench:NAME:DATASET:THREAT`, or a user's own as `module:function`."""
    num_classes: int
    """Number of logits."""
    channels: int = 3
    """Channels of the images: 1 for grey, 3 for colour."""
    width: int | None = None
    """Channels of the first stage (64; rn20's and the small net's first layer 16); a Wide ResNet's widening factor
    (10)."""
    depth: int | None = None
    """Blocks per stage (2; rn20's 3); a Wide ResNet's depth (34); the small net's convolutions (3)."""
    normalize: str = "none"
    """The normalisation of images in [0, 1] that the network expects: `none`, `cifar10`, `cifar100`, `MEAN:STD` or
    `MEAN:STD:bgr`."""
    offsets: bool = False
    """Whether a constant per class is added to the logits (`models.offsets`); the state dict includes them."""

    @classmethod
    def of(cls, recipe: Recipe, data: DataSet) -> Self:
        """The network that a recipe names, for a data set's classes and channels."""
        split = data.train or data.test
        return cls(
            model=recipe.model,
            num_classes=data.num_classes,
            channels=split.images.shape[0] if split else 3,
            width=recipe.width,
            depth=recipe.depth,
            normalize=recipe.normalize,
        )

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise InputError(f"a classifier needs 2 classes or more, not {self.num_classes}")
        for name in ("channels", "width", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"a model's {name} is 1 or more, not {value}")
        if self.depth is not None and self.depth > MAX_DEPTH:
            raise InputError(f"a model's depth is at most {MAX_DEPTH:,}, not {self.depth:,}")
        parse_normalize(self.normalize, self.channels)


def _preact_resnet(a: Architecture, form: Form = PLAIN) -> nn.Module:
    return PreActResNet(a.num_classes, channels=a.channels, form=form, **_set_only(width=a.width, blocks=a.depth))


def _resnet(a: Architecture) -> nn.Module:
    return ResNet(a.num_classes, channels=a.channels, width=a.width or 64, blocks=a.depth or 2)


def _resnet20(a: Architecture) -> nn.Module:
    return ResNet(a.num_classes, channels=a.channels, width=a.width or 16, blocks=a.depth or 3, stages=3)


def _wide_resnet(a: Architecture) -> nn.Module:
    depth, widen = (int(number) for number in a.model.removeprefix("wrn").split("-"))
    return WideResNet(a.num_classes, channels=a.channels, depth=a.depth or depth, widen=a.width or widen)


def _small(a: Architecture, norm: NormLayer = "batch") -> nn.Module:
    return SmallNet(a.num_classes, channels=a.channels, norm=norm, **_set_only(width=a.width, depth=a.depth))


def _set_only(**options: int | None) -> dict[str, int]:
    """The options that are set; the networks' defaults apply to the others."""
    return {name: value for name, value in options.items() if value is not None}


MODELS: dict[str, Callable[[Architecture], nn.Module]] = {
    "prn18": _preact_resnet,
    **{f"{FAMILY}:{name}": partial(_preact_resnet, form=form) for name, form in FORMS.items()},
    "rn18": _resnet,
    "rn20": _resnet20,
    "wrn34-10": _wide_resnet,
    "wrn28-10": _wide_resnet,
    "wrn34-20": _wide_resnet,
    "small": _small,
    "small-gn": partial(_small, norm="group"),
}
"""Name -> its builder. `prn18` is `prn18:preact-shortcut`; any other `wrn<depth>-<widen>` is built like `wrn34-10`;
`rn20` has three stages, so that 28 x 28 pixels are halved without a remainder, to 14 and 7."""


def build_model(architecture: Architecture, *, seed: int | None = None, model: str | None = None) -> nn.Module:
    """The network that an architecture describes, on the CPU, in training mode.

    Args:
        architecture: what to build.
        seed: the initial weights depend only on it, and the caller's generator does not change; without one they
            are drawn from the caller's generator.
        model: the network's name again where it is `module:function`: an architecture may come from a file, and
            code is imported only where the call names it.

    Returns:
        A module from images (B, channels, H, W) in [0, 1] to logits (B, num_classes). With a normalisation it is a
        `Normalized` around the network, and with offsets an `Offset` around that, of zeros.

    Raises:
        InputError: no such model; a user's function is not that of `model`, cannot be imported or does not return a
            module; a library is missing.
    """
    if seed is None:
        net = _network(architecture, model)
    else:
        # Only the CPU's generator is forked and seeded: `torch.manual_seed` would seed the GPUs' too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "initial weights"))
            net = _network(architecture, model)
    statistics = parse_normalize(architecture.normalize, architecture.channels)
    if statistics is not None:
        net = Normalized(net, *statistics, reverse=reverses_channels(architecture.normalize))
    return Offset(net, torch.zeros(architecture.num_classes)) if architecture.offsets else net


def _network(architecture: Architecture, requested: str | None) -> nn.Module:
    name = architecture.model
    if is_foreign(name):
        require_named(name, requested, "the architecture")
        if architecture.width is not None or architecture.depth is not None:
            raise InputError(f"{name} has a fixed width and depth; leave out these options")
        library, _, source = name.partition(":")
        if library in LIBRARIES:
            return LIBRARIES[library](source, architecture.num_classes, architecture.channels)
        return own_model(name, architecture.num_classes)
    wide = re.fullmatch(r"wrn[1-9]\d{0,3}-[1-9]\d{0,3}", name)
    if not wide and name not in MODELS:
        raise unknown("model", name, MODELS, see="the help of --model")
    try:
        return _wide_resnet(architecture) if wide else MODELS[name](architecture)
    except (RuntimeError, MemoryError):  # also where the size exceeds 64 bits
        size = ", ".join(f"{key} {value:,}" for key in ("width", "depth") if (value := getattr(architecture, key)))
        raise InputError(
            f"there is not enough memory for {name}{f' of {size}' if size else ''}; choose a smaller network"
        ) from None
