"""Networks of Hugging Face, by a mock that has its signatures: it is no dependency."""

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers.pets import CLASSES, IMAGES, data, layers, stored
from torch import Tensor, nn

from faal import checkpoint
from faal.data import load_data
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.models.libraries import class_names, expected_normalisation


class Classifier(nn.Module):
    """As of transformers: called with pixel_values, returns an object; the file has older names than the network."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config, self.body = config, layers(config.num_labels, config.num_channels)

    def forward(self, pixel_values: Tensor | None = None, labels: Tensor | None = None) -> SimpleNamespace:
        return SimpleNamespace(loss=None, logits=self.body(pixel_values))

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        labels = {str(place): name for place, name in enumerate(self.config.labels)}
        config = {"model_type": "toy", "num_channels": self.config.num_channels, "id2label": labels}
        (folder / "config.json").write_text(json.dumps(config))
        save_file(
            {name.replace("body", "old"): tensor for name, tensor in self.state_dict().items()},
            folder / "model.safetensors",
        )


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module, hub = ModuleType("transformers"), ModuleType("huggingface_hub")

    class AutoConfig:
        @classmethod
        def from_pretrained(cls, name: Path, *, local_files_only: bool, trust_remote_code: bool, **kwargs: Any) -> Any:
            assert local_files_only
            config = json.loads((Path(name) / "config.json").read_text())
            if "auto_map" in config:
                assert trust_remote_code is False
                raise ValueError("contains custom code which must be executed\nto load it")
            labels = list(config["id2label"].values())
            if kwargs.get("num_labels", len(labels)) != len(labels):
                labels = [f"LABEL_{place}" for place in range(kwargs["num_labels"])]
            channels = kwargs.get("num_channels", config["num_channels"])
            return SimpleNamespace(labels=labels, num_labels=len(labels), num_channels=channels)

    class AutoModelForImageClassification:
        @classmethod
        def from_config(cls, config: Any, *, trust_remote_code: bool, attn_implementation: str) -> Classifier:
            assert (trust_remote_code, attn_implementation) == (False, "eager")
            return Classifier(config)

        @classmethod
        def from_pretrained(
            cls,
            name: Path,
            *,
            local_files_only: bool,
            trust_remote_code: bool,
            use_safetensors: bool,
            output_loading_info: bool,
            attn_implementation: str,
        ) -> tuple[Classifier, dict[str, Any]]:
            assert use_safetensors
            assert output_loading_info
            config = AutoConfig.from_pretrained(
                name, local_files_only=local_files_only, trust_remote_code=trust_remote_code
            )
            net = Classifier(config)
            stored = load_file(Path(name) / "model.safetensors")
            found = net.load_state_dict({key.replace("old", "body"): t for key, t in stored.items()}, strict=False)
            missing, unexpected = set(found.missing_keys), set(found.unexpected_keys)
            return net, {"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": set()}

    def snapshot_download(repo_id: str, *, local_files_only: bool) -> str:
        assert local_files_only
        if repo_id != "somebody/pets":
            raise FileNotFoundError(repo_id)
        return str(tmp_path / "cache")

    module.AutoConfig = AutoConfig  # type: ignore[attr-defined]
    module.AutoModelForImageClassification = AutoModelForImageClassification  # type: ignore[attr-defined]
    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return module


def saved(folder: Path, *, labels: tuple[str, ...] = CLASSES, **preprocessor: Any) -> Classifier:
    net = Classifier(SimpleNamespace(labels=labels, num_labels=len(labels), num_channels=3)).eval()
    net.save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return net


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("by", ["folder", "file", "name"])
def test_a_saved_folder_is_a_network_with_its_weights(tmp_path: Path, by: str) -> None:
    folder = tmp_path / "pets"
    original = saved(folder, image_mean=[0.5, 0.4, 0.3], image_std=[0.25, 0.25, 0.2], do_normalize=True)
    path = folder / "model.safetensors" if by == "file" else folder
    opened = open_model(path, data(), model=f"hf:{folder}" if by == "name" else None)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.5, 0.4, 0.3], [0.25, 0.25, 0.2]))
    torch.testing.assert_close(opened.net(IMAGES), original((IMAGES - mean) / std).logits)
    assert opened.architecture.model == f"hf:{folder}"
    assert opened.record["sha256"] == checkpoint.digest(folder / "model.safetensors")
    assert not opened.net.training


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("preprocessor", [{}, {"do_normalize": False, "image_mean": [0.5], "image_std": [0.5]}])
def test_a_folder_that_names_no_normalisation(tmp_path: Path, preprocessor: dict[str, Any]) -> None:
    original = saved(tmp_path / "pets", **preprocessor)
    assert torch.equal(open_model(tmp_path / "pets", data()).net(IMAGES), original(IMAGES).logits)


@pytest.mark.usefixtures("transformers")
def test_blue_comes_first_where_the_processor_reverses_the_channels(tmp_path: Path) -> None:
    original = saved(tmp_path / "pets", image_processor_type="MobileViTImageProcessor", size={"shortest_edge": 32})
    opened = open_model(tmp_path / "pets", dataclasses.replace(data(), sized=True))
    assert torch.equal(opened.net(IMAGES), original(IMAGES[:, [2, 1, 0]]).logits)
    assert opened.architecture.normalize == "0:1:bgr"
    assert [note for note in opened.notes if "32 pixels" in note and "8x8" in note]


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("size", [{"shortest_edge": 32}, {"height": 32, "width": 32}, {"longest_edge": 32}])
def test_images_that_its_processor_would_resize_are_refused_unless_their_size_is_chosen(
    size: dict[str, int], tmp_path: Path
) -> None:
    saved(tmp_path / "pets", image_mean=0.5, image_std=0.25, size=size)
    with pytest.raises(InputError, match=r"resized to .*--size 8,8"):
        open_model(tmp_path / "pets", data())
    np.savez(tmp_path / "p.npz", x_test=IMAGES.numpy(), y_test=[0, 1, 2, 0], classes=list(CLASSES))
    assert open_model(tmp_path / "pets", load_data(f"npz:{tmp_path / 'p.npz'}", size=(8, 8))).notes


@pytest.mark.usefixtures("transformers")
def test_steps_that_are_not_per_pixel_are_refused_without_normalize(tmp_path: Path) -> None:
    original = saved(tmp_path / "pets", image_mean=0.5, image_std=0.25, do_grayscale=True)
    with pytest.raises(InputError, match="do_grayscale"):
        open_model(tmp_path / "pets", data())
    assert torch.equal(open_model(tmp_path / "pets", data(), normalize="none").net(IMAGES), original(IMAGES).logits)


@pytest.mark.usefixtures("transformers")
def test_a_network_of_timm_in_a_folder_of_hugging_face_is_normalised_as_in_timm(tmp_path: Path) -> None:
    saved(tmp_path / "pets")
    config = json.loads((tmp_path / "pets" / "config.json").read_text())
    timm = {"pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.25, 0.2], "input_size": [3, 224, 224]}}
    (tmp_path / "pets" / "config.json").write_text(json.dumps(config | timm))
    opened = open_model(tmp_path / "pets", data())
    assert opened.architecture.normalize == "0.5,0.4,0.3:0.25,0.25,0.2"
    assert [note for note in opened.notes if "224x224" in note]


def test_one_number_for_all_channels(tmp_path: Path) -> None:
    saved(tmp_path / "pets", image_mean=0.5, image_std=0.25)
    assert expected_normalisation(f"hf:{tmp_path / 'pets'}", 3) == "0.5:0.25"


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("source", ["folder", "cache"])
def test_a_description_with_weights_from_elsewhere(tmp_path: Path, source: str) -> None:
    """A fine-tune with a head of its own: the description's labels are not its classes."""
    folder = tmp_path / source
    saved(folder, labels=("tabby", "hound", "elk", "moose"))
    name = str(folder) if source == "folder" else "somebody/pets"
    original = Classifier(SimpleNamespace(num_labels=3, num_channels=3)).eval()
    opened = open_model(stored(tmp_path, original), data(), model=f"hf:{name}")
    assert torch.equal(opened.net(IMAGES), original(IMAGES).logits)
    assert not [note for note in opened.notes if "classes" in note]


@pytest.mark.usefixtures("transformers")
def test_a_network_of_the_library_is_restored_from_a_native_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "pets", image_mean=[0.5], image_std=[0.25])
    opened = open_model(tmp_path / "pets", data())
    state = {
        "architecture": vars(opened.architecture),
        "classes": list(CLASSES),
        "weights": opened.net.state_dict(),
        "recipe": {"epsilon": 0.1},
    }
    checkpoint.save(tmp_path / "run" / "best.pt", state)
    assert torch.equal(open_model(tmp_path / "run", data()).net(IMAGES), opened.net(IMAGES))


@pytest.mark.usefixtures("transformers")
def test_labels_in_another_order_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "pets", labels=("cat", "elk", "dog"))
    with pytest.raises(InputError, match="class 1 was 'elk' and is 'dog'"):
        open_model(tmp_path / "pets", data())


@pytest.mark.usefixtures("transformers")
def test_the_order_of_more_than_ten_labels(tmp_path: Path) -> None:
    many = tuple(f"kind {chr(ord('z') - place)}" for place in range(12))
    saved(tmp_path / "pets", labels=many)
    config = json.loads((tmp_path / "pets" / "config.json").read_text())
    (tmp_path / "pets" / "config.json").write_text(json.dumps(config, sort_keys=True))
    assert class_names(tmp_path / "pets") == list(many)


def break_weights(folder: Path, add: dict[str, Tensor], drop: str = "") -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items() if name != drop}
    save_file(tensors | add, folder / "model.safetensors")


@pytest.mark.usefixtures("transformers")
def test_what_does_not_fit(tmp_path: Path) -> None:
    def refused(message: str, classes: tuple[str, ...] = CLASSES, **options: Any) -> None:
        with pytest.raises(InputError, match=message) as caught:
            open_model(tmp_path / "pets", data(classes), **options)
        assert "\n" not in str(caught.value)

    folder = tmp_path / "pets"
    saved(folder)
    refused(r"is 3 x 144, not 4 x 144.*resembles a model for 3 classes and 3 channels", ("a", "b", "c", "d"))
    refused("has a fixed width and depth", width=4)
    break_weights(folder, {}, drop="old.3.bias")  # an untrained head would predict by chance
    refused(r"lacks weights of the classifier that it describes \(body.3.bias\)")
    saved(folder)
    break_weights(folder, {"old.9.scale": torch.ones(1)})
    refused(r"has more weights than the classifier that it describes \(body.9.scale\)")
    (folder / "preprocessor_config.json").write_text("{")
    refused("preprocessor_config.json is not valid JSON")
    (folder / "preprocessor_config.json").write_text("[]")
    refused("contains a list, not settings")
    (folder / "preprocessor_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "code.Config"}}))
    refused(r"cannot be built \(contains custom code which must be executed\)$")
    (folder / "model.safetensors").unlink()
    refused("contains a config.json but no model.safetensors")


@pytest.mark.usefixtures("transformers")
def test_a_name_that_is_nowhere() -> None:
    with pytest.raises(InputError, match="hf download somebody/cars"):
        build_model(Architecture(model="hf:somebody/cars", num_classes=3))


def test_transformers_itself(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=8, patch_size=4, id2label=dict(enumerate(CLASSES)), **size)
    original = transformers.AutoModelForImageClassification.from_config(config).eval()
    original.save_pretrained(tmp_path / "pets")
    opened = open_model(tmp_path / "pets", data())
    torch.testing.assert_close(opened.net(IMAGES), original(pixel_values=IMAGES).logits)
