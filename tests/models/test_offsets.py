"""Offsets around a network: built, stored in checkpoints, and folded into the network's own bias."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.conftest import toy_data
from torch import Tensor, nn

from faal import checkpoint, load_model
from faal.checksums import TENSORS_SHA256
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.models.export import export
from faal.models.offsets import Offset, merge_into_bias, with_offsets, without_offsets

OFFSETS = torch.tensor([0.5, -1.25, 0.75])
SMALL = Architecture(model="small", num_classes=3, channels=1, width=4, normalize="0.4:0.3", offsets=True)


def images(size: int = 8) -> Tensor:
    return torch.rand(6, 1, size, size, generator=torch.Generator().manual_seed(3))


def saved(path: Path, architecture: Architecture = SMALL, **other: object) -> nn.Module:
    """A checkpoint with these offsets, and its network."""
    net = build_model(architecture, seed=1).eval()
    if isinstance(net, Offset):
        net.offsets.copy_(OFFSETS)
    recipe = {"method": "pgd-at", "epsilon": 0.1}
    state = {
        "architecture": asdict(architecture),
        "classes": ["class0", "class1", "class2"],
        "weights": net.state_dict(),
    }
    checkpoint.save(path, {**state, "recipe": recipe, "image_size": [8, 8], **other})
    return net


def test_offsets_are_added_outside_the_normalisation_and_are_no_parameter() -> None:
    net = build_model(SMALL, seed=1).eval()
    assert isinstance(net, Offset)
    plain = build_model(Architecture(model="small", num_classes=3, channels=1, width=4, normalize="0.4:0.3"), seed=1)
    plain.load_state_dict(without_offsets(net.state_dict()))
    assert with_offsets(plain.state_dict(), net.offsets).keys() == net.state_dict().keys()
    net.offsets.copy_(OFFSETS)
    assert torch.equal(net(images()), plain.eval()(images()) + OFFSETS)
    assert "offsets" not in dict(net.named_parameters())


def test_a_checkpoint_stores_offsets_around_the_plain_network(tmp_path: Path) -> None:
    net = saved(tmp_path / "net.pt")
    found = load_model(tmp_path / "net.pt")
    assert open_model(tmp_path / "net.pt", toy_data([9] * 3)).record["offsets"] == OFFSETS.tolist()
    assert torch.equal(found(images()), net(images()))
    assert torch.allclose(found.net(images()) + OFFSETS, net(images()))


def test_a_checkpoint_of_an_older_version_has_none(tmp_path: Path) -> None:
    plain = Architecture(model="small", num_classes=3, channels=1, width=4)
    net = saved(tmp_path / "net.pt", plain)
    state = checkpoint.load(tmp_path / "net.pt")
    del state["architecture"]["offsets"]
    checkpoint.save(tmp_path / "net.pt", state)
    assert torch.equal(load_model(tmp_path / "net.pt")(images()), net(images()))


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
@pytest.mark.parametrize("normalize", ["none", "0.4:0.3"])
def test_an_export_adds_offsets_to_the_bias(name: str, normalize: str, tmp_path: Path) -> None:
    architecture = Architecture(model="small", num_classes=3, channels=1, width=4, normalize=normalize, offsets=True)
    net = saved(tmp_path / "net.pt", architecture)
    done = export(tmp_path / "net.pt", tmp_path / name)
    assert (done.offsets_layer, done.offsets) == ("linear", ())
    file = tmp_path / name
    weights = load_file(file) if name.endswith("safetensors") else torch.load(file, weights_only=True)
    own = build_model(Architecture(model="small", num_classes=3, channels=1, width=4)).eval()
    own.load_state_dict(weights, strict=True)
    given = images() if normalize == "none" else (images() - 0.4) / 0.3
    assert torch.allclose(own(given), net(images()), atol=1e-5)
    if name.endswith("safetensors"):
        with safe_open(file, "pt") as content:
            assert "offsets" not in content.metadata()
            assert '"offsets": false' in content.metadata()["architecture"]


class NoBias(nn.Module):
    """Classes by a layer without a bias; another one has a bias of as many numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 3)
        self.last = nn.Linear(3, 3, bias=False)

    def forward(self, given: Tensor) -> Tensor:
        return self.last(torch.relu(self.hidden(given.flatten(1))))


class Twice(nn.Module):
    """The layer that computes the logits is used a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 3)

    def forward(self, given: Tensor) -> Tensor:
        return self.last(given.flatten(1)) + self.last(given.flatten(1).square()).relu()


class Convolution(nn.Module):
    """Logits as means over a map of the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 1)

    def forward(self, given: Tensor) -> Tensor:
        return self.last(self.first(given).relu()).mean(dim=(2, 3))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize(("kind", "layer"), [(NoBias, None), (Twice, None), (Convolution, "last")])
def test_the_layer_is_found_by_a_test(kind: type[nn.Module], layer: str | None, scale: float) -> None:
    torch.manual_seed(0)
    inner = kind().eval()
    with torch.no_grad():
        for parameter in inner.last.parameters():
            parameter.mul_(scale)
    net = Offset(inner, scale * OFFSETS)
    before, weights = net(images()), {name: tensor.clone() for name, tensor in inner.state_dict().items()}
    assert merge_into_bias(net, inner, images()) == layer
    assert torch.allclose(net(images()), before, atol=1e-5 * max(1, scale))
    if layer is None:
        assert torch.equal(net.offsets, scale * OFFSETS)
        assert all(torch.equal(tensor, weights[name]) for name, tensor in inner.state_dict().items())
    else:
        assert not net.offsets.any()
        assert torch.allclose(inner(images()), before, atol=1e-5 * max(1, scale))


def test_an_export_that_cannot_fold_offsets_reports_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = saved(tmp_path / "net.pt")
    monkeypatch.setattr("faal.models.export.merge_into_bias", lambda *_: None)
    done = export(tmp_path / "net.pt", tmp_path / "net.safetensors")
    assert (done.offsets_layer, done.offsets) == (None, tuple(OFFSETS.tolist()))
    with safe_open(tmp_path / "net.safetensors", "pt") as content:
        assert content.metadata()["offsets"] == "[0.5, -1.25, 0.75]"
        assert '"offsets": true' in content.metadata()["architecture"]
    assert torch.allclose(net.net(images()) + OFFSETS, net(images()))


@pytest.fixture
def unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exported file that records offsets, whose network is in `net.pt`."""
    saved(tmp_path / "net.pt")
    monkeypatch.setattr("faal.models.export.merge_into_bias", lambda *_: None)
    export(tmp_path / "net.pt", tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("normalize", [None, "0.4:0.3", "0.40:0.30"])
def test_a_file_that_records_offsets_is_read_with_them(unfolded: Path, normalize: str | None) -> None:
    opened = open_model(unfolded, toy_data([9] * 3), model="small", width=4, normalize=normalize)
    expected = load_model(unfolded.with_name("net.pt"))
    assert torch.equal(opened.net(images()), expected(images()))
    assert opened.record["offsets"] == OFFSETS.tolist()
    assert opened.architecture.offsets
    build_model(opened.architecture).load_state_dict(opened.net.state_dict())  # as a repair's checkpoint is read
    assert sum("offsets" in note for note in opened.notes) == 1
    assert sum("normalised by 0.4:0.3" in note for note in opened.notes) == (normalize is None)


@pytest.mark.parametrize("normalize", ["none", "0.4:0.2"])
def test_a_normalisation_other_than_the_recorded_one_is_refused(unfolded: Path, normalize: str) -> None:
    with pytest.raises(InputError, match=f"0.4:0.3, not {normalize}"):
        open_model(unfolded, toy_data([9] * 3), model="small", width=4, normalize=normalize)


def test_a_recorded_normalisation_of_none_is_the_files_word(tmp_path: Path) -> None:
    saved(tmp_path / "net.pt", Architecture(model="small", num_classes=3, channels=1, width=4))
    export(tmp_path / "net.pt", tmp_path / "net.safetensors")
    opened = open_model(tmp_path / "net.safetensors", toy_data([9] * 3), model="small", width=4)
    assert opened.notes == []
    assert torch.equal(opened.net(images()), load_model(tmp_path / "net.pt")(images()))
    with pytest.raises(InputError, match="none, not"):
        open_model(tmp_path / "net.safetensors", toy_data([9] * 3), model="small", width=4, normalize="0.4:0.3")


def record_again(file: Path, changed: dict[str, str]) -> None:
    """Replace parts of what a file records, as other programs do: without its SHA-256."""
    with safe_open(file, "pt") as content:
        metadata = {name: text for name, text in content.metadata().items() if name != TENSORS_SHA256}
    save_file(load_file(file), file, metadata | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"offsets": "[0.5, -1.25]"},
        {"offsets": "[0.5, -1.25, NaN]"},
        {"offsets": "0.5"},
        {"offsets": "[]"},
        {"architecture": "{"},
        {"architecture": "[]"},
        {"architecture": '{"model": 3}'},
        {"classes": '["class0"]'},
        {"normalize": "0.1:0.2"},
    ],
)
def test_a_damaged_record_is_refused(unfolded: Path, changed: dict[str, str]) -> None:
    record_again(unfolded, changed)
    with pytest.raises(InputError, match="does not describe a network"):
        open_model(unfolded, toy_data([9] * 3), model="small", width=4)


def test_recorded_classes_in_another_order_are_refused(unfolded: Path) -> None:
    record_again(unfolded, {"classes": '["class1", "class0", "class2"]'})
    with pytest.raises(InputError, match="in another order"):
        open_model(unfolded, toy_data([9] * 3), model="small", width=4)


def test_a_plain_state_dict_cannot_hold_offsets(unfolded: Path) -> None:
    for name in ("net.pth", "weights.pt"):
        with pytest.raises(InputError, match=r"\.safetensors"):
            export(unfolded.with_name("net.pt"), unfolded.with_name("new") / name)
        assert not unfolded.with_name("new").exists()


@pytest.mark.parametrize("can_fold", [True, False])
@pytest.mark.parametrize("name", ["new.pth", "new.safetensors"])
def test_offsets_of_zero_are_none(name: str, can_fold: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "net.pt")
    state = checkpoint.load(tmp_path / "net.pt")
    state["weights"]["offsets"].zero_()
    checkpoint.save(tmp_path / "net.pt", state)
    if not can_fold:
        monkeypatch.setattr("faal.models.export.merge_into_bias", lambda *_: None)
    done = export(tmp_path / "net.pt", tmp_path / name)
    assert (done.offsets_layer, done.offsets) == (None, ())
    if name.endswith("safetensors"):
        with safe_open(tmp_path / name, "pt") as content:
            assert "offsets" not in content.metadata()
            assert '"offsets": false' in content.metadata()["architecture"]


def test_an_earlier_versions_file_whose_offsets_are_zero(unfolded: Path) -> None:
    record_again(unfolded, {"offsets": "[0.0, 0.0, 0.0]"})
    opened = open_model(unfolded, toy_data([9] * 3), model="small", width=4)
    assert not isinstance(opened.net, Offset)
    assert not opened.architecture.offsets
    assert not any("offsets" in note for note in opened.notes)
