"""Networks of RobustBench, where it is installed: `robustbench:NAME[:DATASET[:THREAT]]`.

Its classes are built without weights, which come from a file like those of any other network. Nothing is downloaded:
entries whose class only exists with downloaded weights are refused, and while a class is built no connection opens.
"""

import contextlib
import importlib.util
import io
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from torch import nn

from faal.config import Threat
from faal.errors import InputError, unknown
from faal.models.libraries import import_library, library_errors

LIBRARY = "robustbench"

ZOO = "robustbench.model_zoo"
"""Its table of networks."""

INSTALL = "robustbench torchvision"
"""What pip is asked for."""

DATA, THREAT = "cifar10", "Linf"
"""Where a name leaves them out, as in RobustBench."""

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
"""RobustBench's data sets, and how many classes each has."""

THREATS = {
    ("cifar10", "linf"): Threat("linf", 8 / 255),
    ("cifar10", "l2"): Threat("l2", 0.5),
    ("cifar100", "linf"): Threat("linf", 8 / 255),
    ("imagenet", "linf"): Threat("linf", 4 / 255),
}
"""The ball that RobustBench's leaderboard evaluates in; there is none for corruptions."""


@dataclass(frozen=True)
class Reference:
    """The parts of a network's name after `robustbench:`."""

    name: str
    data: str
    threat: str

    @classmethod
    def of(cls, source: str) -> "Reference":
        """Raises InputError where it has more parts, an empty one, or another data set."""
        parts = source.split(":")
        if not all(parts) or len(parts) > 3:
            raise InputError(
                f"{LIBRARY}:{source} is not of the form robustbench:NAME:DATASET:THREAT, such as "
                "robustbench:Zhang2019Theoretically:cifar10:Linf"
            )
        name, data, threat = (*parts, *(DATA, THREAT)[len(parts) - 1 :])
        if data not in CLASSES:
            raise unknown("data set of RobustBench", data, CLASSES, see="its documentation")
        return cls(name, data, threat)


def robustbench_threat(model: str) -> Threat | None:
    """The ball that RobustBench evaluates a network in; None for one of another library, or of corruptions."""
    library, _, source = model.partition(":")
    if library != LIBRARY:
        return None
    reference = Reference.of(source)
    return THREATS.get((reference.data, reference.threat.lower()))


def robustbench_model(source: str, num_classes: int, channels: int) -> nn.Module:
    """RobustBench's network of that name, with random weights; its normalisation is part of it.

    Args:
        source: `NAME`, `NAME:DATASET` or `NAME:DATASET:THREAT`.
        num_classes: number of logits; that of the data set.
        channels: channels of the images; 3.

    Raises:
        InputError: the package is missing, or lacks the network; it exists with downloaded weights only; it is for
            other classes or channels.
    """
    model = f"{LIBRARY}:{source}"
    reference = Reference.of(source)
    if num_classes != CLASSES[reference.data]:
        raise InputError(
            f"{model} is for the {CLASSES[reference.data]} classes of {reference.data}, the data has {num_classes}"
        )
    if channels != 3:
        raise InputError(f"{model} takes images of 3 channels, the data has {channels}; --rgb converts gray images")
    with _offline(), contextlib.redirect_stdout(io.StringIO()), library_errors(model):
        entries = _entries(model_zoo(model).model_dicts, reference)
        timm = import_library("timm", model, install=INSTALL)
        registered = "_".join((reference.name.lower().replace("-", "_"), reference.data, reference.threat.lower()))
        if timm.is_model(registered):  # as in the package's own `load_model`, but without weights
            net: nn.Module = timm.create_model(registered, num_classes=num_classes, pretrained=False)
            return net.float()
        entry = entries.get(reference.name)
        if entry is None:
            raise unknown("network of RobustBench", reference.name, entries, see="its leaderboard")
        if not entry["gdrive_id"]:
            raise InputError(
                f"{model} has no checkpoint of its own: RobustBench builds it with weights that it downloads; name "
                "the network by another library, such as timm:NAME"
            )
        net = entry["model"]()
    return net.float()


def model_zoo(model: str) -> Any:
    """RobustBench's table of networks, imported without the package's own `__init__`.

    That one imports what downloads, and two modules that pip does not install with release 1.1.1: `autoattack`, and
    `pkg_resources` of setuptools before 81. Where the process has imported the package already, it is taken as it is.

    Args:
        model: the network that needs it, for the error.

    Raises:
        InputError: it is not installed, or cannot be imported.
    """
    spec = None if LIBRARY in sys.modules else importlib.util.find_spec(LIBRARY)
    if spec is None or spec.submodule_search_locations is None:
        return import_library(ZOO, model, install=INSTALL)
    package = ModuleType(LIBRARY)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[LIBRARY] = package
    try:
        return import_library(ZOO, model, install=INSTALL)
    finally:
        del sys.modules[LIBRARY]


def _entries(zoo: Mapping[Any, Mapping[Any, Mapping[str, Any]]], reference: Reference) -> Mapping[str, Any]:
    """The networks of a data set and a threat, by name."""
    threats = next(found for data, found in zoo.items() if data.value == reference.data)
    for threat, entries in threats.items():
        if threat.value.lower() == reference.threat.lower():
            return entries
    names = [threat.value for threat in threats]
    raise unknown("threat of RobustBench", reference.threat, names, see="its leaderboard")


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """The context in which a connection that anything in this process would open is an error."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("it would download something, and nothing is downloaded here")

    before = socket.getaddrinfo
    socket.getaddrinfo = refuse
    socket.socket.connect = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.getaddrinfo = before
        del socket.socket.connect  # that of its base class applies again
