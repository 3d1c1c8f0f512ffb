"""RobustBench's networks: their names, what is refused, and, where the package is installed, the package itself."""

import importlib.util
import socket
import sys
import threading
import urllib.request
from enum import Enum
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.models.public.public_nets import settled
from torch import nn

from faal.config import Threat
from faal.data import DataSet, InMemory, Split
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.models.public import robustbench as subject

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class StubData(Enum):
    cifar_10 = "cifar10"


class StubThreat(Enum):
    Linf = "Linf"
    corruptions = "corruptions"


class Shifted(nn.Module):
    """As the package's own classes, with the normalisation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3)
        self.register_buffer("mu", torch.full((1, 3, 1, 1), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x - self.mu).mean(dim=(2, 3))


def downloaded() -> nn.Module:
    with urllib.request.urlopen("http://127.0.0.1:9/weights.pt") as answer:
        return torch.load(answer)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock with the package's table of networks, and timm's with one that it registers there."""
    linf = {
        "Shifted2020": {"model": Shifted, "gdrive_id": "1"},
        "Remote2021": {"model": downloaded, "gdrive_id": ""},
        "Sly2022": {"model": downloaded, "gdrive_id": "2"},
        "Light2022_XCiT-S": {"model": downloaded, "gdrive_id": None},
    }
    zoo, timm = ModuleType("robustbench.model_zoo"), ModuleType("timm")
    zoo.model_dicts = {StubData.cifar_10: {StubThreat.Linf: linf, StubThreat.corruptions: {}}}  # type: ignore[attr-defined]

    def create_model(name: str, *, num_classes: int, pretrained: bool) -> nn.Module:
        assert not pretrained
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))

    timm.create_model = create_model  # type: ignore[attr-defined]
    timm.is_model = lambda name: name == "light2022_xcit_s_cifar10_linf"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "robustbench", ModuleType("robustbench"))
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo", zoo)
    monkeypatch.setitem(sys.modules, "timm", timm)


def built(source: str, classes: int = 10, channels: int = 3) -> nn.Module:
    return build_model(Architecture(model=f"robustbench:{source}", num_classes=classes, channels=channels), seed=0)


def pictures() -> DataSet:
    split = Split(InMemory(IMAGES), torch.arange(3))
    return DataSet("pictures", tuple(f"class {k}" for k in range(10)), None, split)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("source", ["Shifted2020", "Shifted2020:cifar10", "Shifted2020:cifar10:linf"])
def test_a_network_is_the_packages_class_with_the_weights_of_a_file(source: str, tmp_path: Path) -> None:
    original = Shifted()
    torch.save({"state_dict": {f"module.{k}": v for k, v in original.state_dict().items()}}, tmp_path / "w.pt")
    opened = open_model(tmp_path / "w.pt", pictures(), model=f"robustbench:{source}")
    assert torch.equal(opened.net(IMAGES), original(IMAGES))
    assert opened.architecture.normalize == "none"
    assert opened.record["architecture"] == f"robustbench:{source}"
    assert opened.threat == Threat("linf", 8 / 255)


@pytest.mark.usefixtures("package")
def test_a_network_that_timm_registers_is_built_without_weights() -> None:
    assert built("Light2022_XCiT-S")(IMAGES).shape == (3, 10)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Shifted2021", "did you mean 'Shifted2020'"),
        ("Shifted2020:cifar11", "did you mean 'cifar10'"),
        ("Shifted2020:cifar10:Linfty", "did you mean 'Linf'"),
        ("Shifted2020:cifar10:Linf:more", "NAME:DATASET:THREAT"),
        ("Shifted2020::Linf", "NAME:DATASET:THREAT"),
        ("Remote2021", "downloads"),
        ("Sly2022", "nothing is downloaded here"),
        ("Shifted2020:cifar100", "100 classes of cifar100, the data has 10"),
    ],
)
def test_what_is_refused(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        built(source)


@pytest.mark.usefixtures("package")
def test_other_classes_and_channels_than_the_networks_are_refused() -> None:
    with pytest.raises(InputError, match="10 classes of cifar10, the data has 7"):
        built("Shifted2020", classes=7)
    with pytest.raises(InputError, match="--rgb"):
        built("Shifted2020", channels=1)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo", None)
    with pytest.raises(InputError, match=r"needs the package robustbench.*pip install robustbench") as caught:
        built("Shifted2020")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "threat"),
    [
        ("robustbench:A:cifar10:L2", Threat("l2", 0.5)),
        ("robustbench:A:imagenet:linf", Threat("linf", 4 / 255)),
        ("robustbench:A:cifar10:corruptions", None),
        ("timm:A", None),
        ("prn18", None),
    ],
)
def test_the_ball_is_the_leaderboards(model: str, threat: Threat | None) -> None:
    assert subject.robustbench_threat(model) == threat


def test_connections_are_refused_inside_alone() -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with subject._offline():
            for attempt in (lambda: socket.create_connection(address), lambda: socket.socket().connect(address),
                            lambda: urllib.request.urlopen(f"http://127.0.0.1:{address[1]}")):  # fmt: skip
                with pytest.raises(OSError, match="nothing is downloaded here"):
                    attempt()
        thread = threading.Thread(target=answer)
        thread.start()
        socket.create_connection(address).close()
        thread.join()


# --- the package itself ----------------------------------------------------------------------------------------------


@pytest.fixture
def zoo() -> ModuleType:
    if importlib.util.find_spec("robustbench") is None:
        pytest.skip(f"robustbench is not installed: pip install {subject.INSTALL}, in an environment of its own")
    return subject.model_zoo("robustbench:A")


@pytest.mark.parametrize(
    "source",
    [
        "Wong2020Fast",
        "Rice2020Overfitting:cifar10:L2",
        "Addepalli2022Efficient_RN18:cifar10:Linf",
        "Rebuffi2021Fixing_R18_ddpm:cifar100:Linf",
        "Hendrycks2020AugMix_WRN:cifar10:corruptions",
    ],
)
def test_the_packages_networks(source: str, zoo: ModuleType, tmp_path: Path) -> None:
    name, data, threat = source.split(":") if ":" in source else (source, "cifar10", "Linf")
    (entries,) = (found for kind, found in zoo.model_dicts.items() if kind.value == data)
    (models,) = (found for kind, found in entries.items() if kind.value == threat)
    original = settled(models[name]["model"](), 3, 32, images=40)
    torch.save({"state_dict": {f"module.{k}": v for k, v in original.state_dict().items()}}, tmp_path / "w.pt")
    classes = tuple(f"class {k}" for k in range(100 if data == "cifar100" else 10))
    images = DataSet("pictures", classes, None, Split(InMemory(IMAGES), torch.arange(3)))
    opened = open_model(tmp_path / "w.pt", images, model=f"robustbench:{source}")
    with torch.no_grad():
        assert torch.equal(opened.net(IMAGES), original(IMAGES))


def test_nothing_of_the_package_that_downloads_is_imported(zoo: ModuleType) -> None:
    assert zoo
    parts = {name.partition(".")[2] for name in sys.modules if name.startswith("robustbench")}
    assert "model_zoo.cifar10" in parts
    assert not parts & {"", "utils", "eval", "data", "loaders", "zenodo_download"}


def test_the_packages_transformers_are_built_without_weights(zoo: ModuleType) -> None:
    assert zoo
    with torch.no_grad():
        assert built("Debenedetti2022Light_XCiT-S12").eval()(IMAGES).shape == (3, 10)


@pytest.mark.parametrize("source", ["Standard_R50:imagenet:Linf", "AlexNet2:imagenet:corruptions"])
def test_the_packages_networks_with_downloaded_weights_are_refused(source: str, zoo: ModuleType) -> None:
    assert zoo
    with pytest.raises(InputError, match=r"downloads|there is no network"):
        built(source, classes=1000)


def test_this_programs_networks_are_the_packages(zoo: ModuleType) -> None:
    """PreActResNet-18 in two forms, ResNet-18 and a Wide ResNet: the same names, the same logits."""
    assert zoo
    resnet, wide_resnet = (
        sys.modules[f"robustbench.model_zoo.architectures.{name}"] for name in ("resnet", "wide_resnet")
    )
    pairs = {
        "prn18:input-shortcut-no-last-bn": resnet.PreActResNet(resnet.PreActBlock, [2, 2, 2, 2]),
        "prn18:preact-shortcut": resnet.PreActResNet(resnet.PreActBlockV2, [2, 2, 2, 2], bn_before_fc=True),
        "prn18:input-shortcut": resnet.PreActResNet(resnet.PreActBlock, [2, 2, 2, 2], bn_before_fc=True),
        "prn18:preact-shortcut-no-last-bn": resnet.PreActResNet(resnet.PreActBlockV2, [2, 2, 2, 2]),
        "rn18": resnet.ResNet18(),
        "wrn16-2": wide_resnet.WideResNet(depth=16, widen_factor=2),
    }
    for model, original in pairs.items():
        net = build_model(Architecture(model=model, num_classes=10), seed=0)
        net.load_state_dict(settled(original, 3, 32, images=40).state_dict())
        with torch.no_grad():
            torch.testing.assert_close(net.eval()(IMAGES), original(IMAGES), msg=model)
