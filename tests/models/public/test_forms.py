"""The forms of PreActResNet-18: what each computes, and which one a file of weights is taken for."""

from pathlib import Path

import pytest
import torch
from tests.models.public.public_nets import PublicPreActResNet, PublicResNet20, settled
from torch import nn

from faal.config import Recipe
from faal.data import DataSet, InMemory, Split
from faal.errors import InputError
from faal.models import Architecture, build_model, load_model, open_model
from faal.models.architectures.preact_resnet import FORMS
from faal.models.export import export
from faal.train.loop import train

pytestmark = pytest.mark.medium

CLASSES = 3
NAMES = [f"prn18:{form}" for form in FORMS]
GENERATOR = torch.Generator().manual_seed(2)
IMAGES = torch.rand(300, 3, 8, 8, generator=GENERATOR)


def public(name: str, *, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    rule, _, ending = name.removeprefix("prn18:").partition("-no-last-bn")
    last_norm = not name.endswith("-no-last-bn")
    assert ending == ""
    net = settled(PublicPreActResNet(rule, last_norm=last_norm, width=4, classes=CLASSES, channels=channels), channels)
    with torch.no_grad():  # every class is predicted
        net.linear.bias -= net(IMAGES[:, :channels]).mean(dim=0)
    return net


def pictures(net: nn.Module | None = None, *, train: bool = True) -> DataSet:
    """Images with the labels that a network predicts, or with random ones."""
    with torch.no_grad():
        labels = torch.arange(300) % CLASSES if net is None else net(IMAGES).argmax(dim=1)
    labels[:CLASSES] = torch.arange(CLASSES)
    split = Split(InMemory(IMAGES), labels)
    return DataSet("pictures", ("cat", "dog", "elk"), split if train else None, split)


def stored(folder: Path, net: nn.Module) -> Path:
    torch.save(net.state_dict(), folder / "w.pth")
    return folder / "w.pth"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_form_is_its_formula_under_public_names(name: str, channels: int) -> None:
    """In evaluation and in training mode; weights go over under public code's names, and back."""
    reference = public(name, channels=channels)
    net = build_model(Architecture(model=name, num_classes=CLASSES, channels=channels, width=4), seed=1)
    assert set(net.state_dict()) == set(reference.state_dict())
    net.load_state_dict(reference.state_dict())
    images = IMAGES[:5, :channels]
    for training in (False, True):
        torch.testing.assert_close(net.train(training)(images), reference.train(training)(images))
    again = public(name, channels=channels)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(images), reference.eval()(images))


@pytest.mark.parametrize("normed", [True, False])
def test_forms_differ_in_logits_alone(normed: bool) -> None:
    names = [f"prn18:{form}" for form, settings in FORMS.items() if settings.last_norm == normed]
    nets = [build_model(Architecture(model=name, num_classes=CLASSES, width=4), seed=1).eval() for name in names]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    logits = [net(IMAGES[:4]) for net in nets]
    assert len(names) == 3
    assert not any(torch.allclose(a, b) for a, b in ((logits[0], logits[1]), (logits[0], logits[2]), logits[1:]))


def test_the_plain_name_is_the_form_of_the_programs_own_checkpoints() -> None:
    plain, named = (build_model(Architecture(model=name, num_classes=3, width=4), seed=1).eval()
                    for name in ("prn18", "prn18:preact-shortcut"))  # fmt: skip
    assert torch.equal(plain(IMAGES), named(IMAGES))


@pytest.mark.parametrize("name", NAMES)
def test_training_images_tell_which_form_a_file_is_of(name: str, tmp_path: Path) -> None:
    net = public(name)
    opened = open_model(stored(tmp_path, net), pictures(net), model="prn18", width=4)
    torch.testing.assert_close(opened.net(IMAGES), net(IMAGES))
    (note,) = [note for note in opened.notes if name in note]
    assert "training images" in note
    assert opened.architecture.model == ("prn18" if name == "prn18:preact-shortcut" else name)
    assert opened.record["architecture"] == opened.architecture.model


@pytest.mark.parametrize("name", NAMES)
def test_without_training_images_nothing_is_guessed(name: str, tmp_path: Path) -> None:
    """Neither with training images that tell nothing. The forms that the tensors exclude are not named."""
    net = public(name)
    path = stored(tmp_path, net)
    alike = [other for other in NAMES if other.endswith("-no-last-bn") == name.endswith("-no-last-bn")]
    for data in (pictures(net, train=False), pictures()):
        with pytest.raises(InputError, match="--model") as caught:
            open_model(path, data, model="prn18", width=4)
        assert all(other in str(caught.value) for other in alike)
        assert str(caught.value).count("prn18:") == len(alike)
    opened = open_model(path, pictures(net, train=False), model=name, width=4)
    torch.testing.assert_close(opened.net(IMAGES), net(IMAGES))


def test_a_file_of_no_form_is_refused_as_before(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another architecture"):
        open_model(stored(tmp_path, nn.Linear(2, 2)), pictures(), model="prn18", width=4)


def test_a_form_is_normalised_like_any_network(tmp_path: Path) -> None:
    net = public("prn18:input-shortcut")
    opened = open_model(
        stored(tmp_path, net), pictures(nn.Sequential(Halved(), net)), model="prn18", width=4, normalize="0.5:0.5"
    )
    assert opened.architecture.model == "prn18:input-shortcut"
    torch.testing.assert_close(opened.net(IMAGES), net((IMAGES - 0.5) / 0.5))


class Halved(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.5) / 0.5


def test_a_form_that_a_file_records_is_not_searched(tmp_path: Path, recipe: Recipe) -> None:
    """A run of a form, its checkpoint, its export with a record, and one without."""
    data, architecture = pictures(), Architecture(model="prn18:input-shortcut", num_classes=CLASSES, width=2)
    small = recipe.replace({"model": architecture.model, "width": 2, "epochs": 1, "hold_out": "none", "select": "last"},
                           source="test")  # fmt: skip
    folder = tmp_path / "run"
    train(build_model(architecture, seed=0), architecture, data, small, out=folder, seed=0, device=torch.device("cpu"))
    trained = load_model(folder)
    assert open_model(folder, data).architecture == architecture
    for suffix in ("safetensors", "pth"):
        export(folder, tmp_path / f"w.{suffix}")
    recorded = open_model(tmp_path / "w.safetensors", data, model=architecture.model, width=2)
    assert torch.equal(recorded.net(IMAGES), trained(IMAGES))
    with pytest.raises(InputError, match="prn18:input-shortcut"):
        open_model(tmp_path / "w.pth", data, model="prn18", width=2)


def test_a_users_module_of_the_same_name_is_still_the_users(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "prn18.py").write_text("from torch import nn\ndef net(): return nn.Linear(2, 3)\n")
    assert isinstance(build_model(Architecture(model="prn18:net", num_classes=3), model="prn18:net"), nn.Linear)
    with pytest.raises(InputError, match="did you mean 'prn18:input-shortcut'"):
        build_model(Architecture(model="prn18:input-shortcutt", num_classes=3), model="prn18:input-shortcutt")


def test_the_resnet_for_gray_images() -> None:
    """rn20 on 28 x 28 pixels: the stages halve them without a remainder."""
    torch.manual_seed(0)
    reference = settled(PublicResNet20(10, 1), 1, 28)
    net = build_model(Architecture(model="rn20", num_classes=10, channels=1), seed=1).eval()
    assert set(net.state_dict()) == set(reference.state_dict())
    net.load_state_dict(reference.state_dict())
    images, sizes = torch.rand(3, 1, 28, 28), list[int]()
    for layer in (net.layer1, net.layer2, net.layer3):
        layer.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[-1]))
    torch.testing.assert_close(net(images), reference(images))
    assert sizes == [28, 14, 7]
