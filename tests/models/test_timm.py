"""Networks of timm, by a mock that has its signatures: it is no dependency."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.helpers.pets import IMAGES, data, layers, stored
from torch import nn

from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.models.libraries import expected_normalisation


@dataclass
class PretrainedCfg:
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    input_size: tuple[int, ...] = (3, 224, 224)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("timm")

    def create_model(
        model_name: str,
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        checkpoint_path: Any = None,
        **kwargs: Any,
    ) -> nn.Module:
        assert not pretrained
        if model_name == "needs_jax":
            raise RuntimeError("no jax\nhere")
        return layers(kwargs["num_classes"], kwargs["in_chans"])

    def get_pretrained_cfg(model_name: str, allow_unregistered: bool = True) -> PretrainedCfg | None:
        name, _, tag = model_name.partition(".")
        if tag not in ("", "a1"):
            raise RuntimeError(f"Invalid pretrained tag ({tag}) for {name}.")
        return None if name == "untrained" else PretrainedCfg()

    names = ["resnet50", "untrained", "needs_jax"]
    module.create_model, module.get_pretrained_cfg = create_model, get_pretrained_cfg  # type: ignore[attr-defined]
    module.list_models = lambda: names  # type: ignore[attr-defined]
    module.is_model = lambda model_name: model_name.partition(".")[0] in names  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


@pytest.mark.usefixtures("timm")
def test_timm_with_its_own_normalisation(tmp_path: Path) -> None:
    original = layers(3, 3).eval()
    opened = open_model(stored(tmp_path, original), data(), model="timm:resnet50.a1")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(opened.net(IMAGES), original((IMAGES - mean) / std))
    assert opened.architecture.normalize == "0.485,0.456,0.406:0.229,0.224,0.225"
    assert [note for note in opened.notes if "normalised by 0.485,0.456,0.406" in note]
    assert opened.record["architecture"] == "timm:resnet50.a1"
    assert [note for note in opened.notes if "224x224" in note and "8x8" in note]


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(("name", "options"), [("resnet50", {"normalize": "none"}), ("untrained", {})])
def test_timm_without_a_normalisation(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    original = layers(3, 3).eval()
    opened = open_model(stored(tmp_path, original), data(), model=f"timm:{name}", **options)
    assert torch.equal(opened.net(IMAGES), original(IMAGES))
    assert not [note for note in opened.notes if "normalised" in note]


@pytest.mark.usefixtures("timm")
def test_timm_on_gray_images_requires_their_normalisation(tmp_path: Path) -> None:
    path, gray = stored(tmp_path, layers(3, 1)), data(channels=1)
    with pytest.raises(InputError, match=r"3 channels, .* data has 1.*--normalize"):
        open_model(path, gray, model="timm:resnet50")
    assert open_model(path, gray, model="timm:resnet50", normalize="0.5:0.2").architecture.channels == 1


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", "no timm model 'resnet51'; did you mean 'resnet50'"),
        ("hf-hub:somebody/resnet50", "no timm model"),
        ("needs_jax", r"timm:needs_jax cannot be built \(no jax\)$"),
    ],
)
def test_timm_names_that_do_not_build(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(Architecture(model=f"timm:{name}", num_classes=3))


@pytest.mark.usefixtures("timm")
def test_a_timm_tag_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"Invalid pretrained tag \(b7\)"):
        expected_normalisation("timm:resnet50.b7", 3)


def test_timm_itself(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    original = timm.create_model("resnet18", num_classes=3).eval()
    opened = open_model(stored(tmp_path, original), data(), model="timm:resnet18")
    mean, std = (torch.tensor(original.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(opened.net(IMAGES), original((IMAGES - mean) / std))
