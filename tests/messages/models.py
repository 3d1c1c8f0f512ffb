"""Networks and their files: what is refused, and in which words."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faal import checkpoint
from faal.data import DataSet, Split
from faal.data.images import InMemory
from faal.models import Architecture, build_model, open_model
from faal.models.export import export
from faal.models.normalize import parse_normalize

SMALL = Architecture(model="small", num_classes=3, channels=1, width=4)
CLASSES = ("cat", "dog", "elk")


def pets(classes: tuple[str, ...] = CLASSES, *, channels: int = 1) -> DataSet:
    images = InMemory(torch.zeros(len(classes), channels, 8, 8))
    return DataSet("pets", classes, None, Split(images, torch.arange(len(classes))))


def run(**changed: Any) -> Path:
    """A folder with a checkpoint of this program, some of its entries changed."""
    weights = build_model(SMALL, seed=1).state_dict()
    state = {"architecture": asdict(SMALL), "classes": list(CLASSES), "weights": weights, "recipe": {"epsilon": 0.1}}
    checkpoint.save(Path("run/best.pt"), state | changed)
    return Path("run")


def foreign() -> Path:
    torch.save(build_model(SMALL, seed=1).state_dict(), "weights.pt")
    return Path("weights.pt")


def preact() -> Path:
    net = build_model(Architecture(model="prn18", num_classes=3, channels=1, width=2), seed=1)
    torch.save(net.state_dict(), "weights.pt")
    return Path("weights.pt")


def opened(path: Path, data: DataSet | None = None, **options: Any) -> nn.Module:
    return open_model(path, data or pets(), **options).net


def built(model: str, **settings: Any) -> nn.Module:
    return build_model(Architecture(model=model, num_classes=3, **settings))


def empty_folder() -> Path:
    Path("run").mkdir()
    return Path("run")


def exported(file: str) -> object:
    Path("net.pth").touch()
    return export(run(), Path(file))


REFUSALS: dict[str, Callable[[], object]] = {
    "run/best.pt: this checkpoint records its own network; leave out --width": lambda: opened(run(), width=4),
    "run contains no best.pt: train there first, or name a checkpoint such as last.pt": lambda: opened(empty_folder()),
    "run/best.pt does not contain the weights of the small that it describes: it was changed or damaged; use another "
    "checkpoint, or train again": lambda: opened(run(weights={})),
    "run/best.pt contains the weights of small, which do not fit wrn10-1; name their network with --model": (
        lambda: opened(run(), model="wrn10-1")
    ),
    "run/best.pt names the network evil:build, which is code, and code that only a file names is not run; if you "
    'trust it, add --model evil:build (in Python model="evil:build")': (
        lambda: opened(run(architecture=asdict(SMALL) | {"model": "evil:build"}))
    ),
    "run/best.pt was trained on the classes of pets in another order (class 1 was 'dog' and is 'elk'); put the data's "
    "classes in the order of the training": lambda: opened(run(), pets(("cat", "elk", "dog"))),
    "run/best.pt has 3 classes, pets has 4; name the data that it was trained for with --data": (
        lambda: opened(run(), pets(("a", "b", "c", "d")))
    ),
    "run/best.pt expects images of 1 channels, pets has 3; save the images in gray": (
        lambda: opened(run(), pets(channels=3))
    ),
    "--width, --depth describes third-party weights; name their network with --model": (
        lambda: opened(foreign(), width=4, depth=3)
    ),
    "weights.pt is not a checkpoint of this program; audit and repair accept third-party weights with --model": (
        lambda: opened(foreign())
    ),
    "there is no network of the zoo 'tyni'; `faal zoo` lists them all": (lambda: opened(Path("zoo:tyni"))),
    "there is no model 'resnet18'; did you mean 'rn18'? the help of --model lists them all": lambda: built("resnet18"),
    "a Wide ResNet's depth is 6n + 4, so 10, 16, 22, 28, 34 and so on, not 11": lambda: built("wrn11-1"),
    "weights.pt fits 3 forms of prn18, which have the same names of tensors and other logits: prn18:preact-shortcut, "
    "prn18:input-shortcut, prn18:preact-identity; name the right one with --model, or name data with training images, "
    "on which the forms are compared": lambda: opened(preact(), model="prn18", width=2),
    "robustbench:A:b:c:d is not of the form robustbench:NAME:DATASET:THREAT, such as "
    "robustbench:Zhang2019Theoretically:cifar10:Linf": lambda: built("robustbench:A:b:c:d"),
    "robustbench:A is for the 10 classes of cifar10, the data has 3": lambda: built("robustbench:A"),
    "hf:cars has a fixed width and depth; leave out these options": lambda: built("hf:cars", width=4),
    "normalize '0.5,0.5:0.5' has 2 numbers for images of 3 channels": lambda: parse_normalize("0.5,0.5:0.5", 3),
    "normalize '127:64' does not fit images in [0, 1]: every mean is in [0, 1] and every deviation above 0, so "
    "divide numbers for images in [0, 255] by 255": lambda: parse_normalize("127:64", 3),
    "net.onnx must end in .safetensors or .pth, the format to write": lambda: exported("net.onnx"),
    "net.pth exists and is not overwritten; name another file, or remove it first": lambda: exported("net.pth"),
}
