"""Foreign checkpoints with more than their network, or less: tensors of its training, lists, constants of its class."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.pets import IMAGES, data, layers
from torch import Tensor, nn

from faal.errors import InputError
from faal.models import load_weights, open_model
from faal.models.own import own_model

State = dict[str, Tensor]


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def source() -> nn.Module:
    torch.manual_seed(1)
    return layers(3, 3)


def averaged(net: nn.Module) -> Any:
    return torch.optim.swa_utils.AveragedModel(net).state_dict()


LEFT_OUT: dict[str, tuple[Callable[[nn.Module], Any], list[str]]] = {
    "AveragedModel": (averaged, ["n_averaged"]),
    "AveragedModel of a parallel network": (
        lambda net: under("module.", averaged(net)),
        ["module.n_averaged"],
    ),
    "Lightning with a criterion": (
        lambda net: {"state_dict": under("model.", net.state_dict()) | {"criterion.weight": torch.ones(3)}},
        ["criterion.weight"],
    ),
    "Lightning with metrics": (
        lambda net: {
            "state_dict": under("net.", net.state_dict())
            | {"val_acc.confmat": torch.zeros(3, 3), "train_metrics.MulticlassF1Score.tp": torch.zeros(3)}
        },
        ["val_acc.confmat", "train_metrics.MulticlassF1Score.tp"],
    ),
    "a loss with weights of the classes": (
        lambda net: {
            **under("backbone.", net.state_dict()),
            "loss_fn.weight": torch.ones(3),
            "pos_weight": torch.ones(3),
        },
        ["loss_fn.weight", "pos_weight"],
    ),
    "ema-pytorch": (
        lambda net: {
            **under("ema_model.", net.state_dict()),
            **under("online_model.", net.state_dict()),
            "initted": torch.tensor(True),
            "step": torch.tensor(10),
        },
        ["initted", "step"],
    ),
    "scalars of an optimiser beside plain names": (
        lambda net: {
            **net.state_dict(),
            "lr": torch.tensor(0.1),
            "weight_decay": torch.tensor(5e-4),
            "epoch": torch.tensor(3),
        },
        ["lr", "weight_decay", "epoch"],
    ),
    "a decay as an average stores it": (
        lambda net: under("module.", net.state_dict()) | {"decay": torch.tensor(0.999), "num_updates": torch.tensor(7)},
        ["decay", "num_updates"],
    ),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_tensors_of_the_training_are_left_out_and_named(kind: str, tmp_path: Path) -> None:
    made, names = LEFT_OUT[kind]
    net, loaded = source(), layers(3, 3)
    torch.save(made(net), tmp_path / "w.pth")
    notes = load_weights(loaded, tmp_path / "w.pth")
    assert torch.equal(loaded(IMAGES), net(IMAGES))
    (note,) = [note for note in notes if "of the training" in note]
    assert all(name in note for name in names)


LAYERS: dict[str, State] = {
    "a layer of the same sequence": {"1.scale": torch.ones(3)},
    "a second head": {"head.weight": torch.ones(3, 3)},
    "a temperature": {"temperature": torch.tensor(2.0)},
    "a scale of the logits": {"logit_scale": torch.tensor(2.0)},
    "a number within the network": {"0.3.step": torch.tensor(1)},
}


@pytest.mark.parametrize("kind", LAYERS)
def test_what_may_be_a_layer_is_refused(kind: str, tmp_path: Path) -> None:
    torch.save(under("0.", source().state_dict()) | LAYERS[kind], tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"others: 1 are unexpected") as caught:
        load_weights(layers(3, 3), tmp_path / "w.pth")
    assert next(iter(LAYERS[kind])) in str(caught.value)


def other(number: int) -> State:
    torch.manual_seed(number)
    return layers(3, 3).state_dict()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ([other(1)], "0"),
        ((other(1), {"lr": 0.1}), "0"),
        ({"models": [{"a": torch.ones(2)}, other(1)]}, "models.1"),
        ({"nets": {"ensemble": [under("module.", other(1))]}}, "nets.ensemble.0"),
        ([[other(1)]], "0.0"),
    ],
)
def test_one_state_dict_in_a_list_is_taken_and_named(content: object, where: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    net = layers(3, 3)
    assert f"The weights were read from {where!r} in the file." in load_weights(net, tmp_path / "w.pth")
    assert torch.equal(net(IMAGES), source()(IMAGES))


def test_several_are_listed(tmp_path: Path) -> None:
    torch.save({"models": [other(number) for number in range(3)]}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"3 sets .* 'models.0', 'models.1' and 'models.2'"):
        load_weights(layers(3, 3), tmp_path / "w.pth")
    torch.save([other(number) for number in range(50)], tmp_path / "w.pth")
    with pytest.raises(InputError, match="50 sets") as caught:
        load_weights(layers(3, 3), tmp_path / "w.pth")
    assert len(str(caught.value)) < 400


def test_tensors_without_names(tmp_path: Path) -> None:
    torch.save({"ema": {"decay": 0.9, "shadow_params": list(other(1).values())}}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"without names \(ema.shadow_params\)"):
        load_weights(layers(3, 3), tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "model.safetensors", "w.bin", "w"])
def test_a_torch_file_of_any_name(name: str, tmp_path: Path) -> None:
    if name == "model.safetensors":
        (tmp_path / "config.json").write_text("{}")
    torch.save(other(1), tmp_path / name)
    net = layers(3, 3)
    load_weights(net, tmp_path / name)
    assert torch.equal(net(IMAGES), source()(IMAGES))


NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.register_buffer("mu", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("sigma", torch.tensor([0.2, 0.3, 0.2]).view(1, 3, 1, 1))
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, num_classes))
        self.register_buffer("kernel", torch.tensor([1.0, 2.0, 1.0]) / 4)

    def forward(self, images):
        return self.body((images - self.mu) / self.sigma)

class Running(Net):
    def forward(self, images):
        if self.training:
            self.mu.lerp_(images.mean((0, 2, 3), keepdim=True), 0.1)
        return super().forward(images)

class Drawn(Net):
    def __init__(self, num_classes=3):
        super().__init__(num_classes)
        self.mu = torch.rand(1, 3, 1, 1)

class Bank(Net):
    def __init__(self, num_classes=3):
        super().__init__(num_classes)
        self.register_buffer("bank", torch.zeros(3, 4))
"""


@pytest.fixture
def stored(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.delitem(sys.modules, "constants", raising=False)
    (work / "constants.py").write_text(NETS)

    def store(kind: str, *missing: str) -> Path:
        state = own_model(f"constants:{kind}", 3).state_dict()
        torch.save({name: tensor for name, tensor in state.items() if name not in missing}, work / "w.pth")
        return work / "w.pth"

    return store


@pytest.mark.parametrize("missing", [("mu", "sigma"), ("mu",), ("kernel",), ("mu", "sigma", "kernel")])
def test_constants_of_the_class_may_be_missing(missing: tuple[str, ...], stored: Callable[..., Path]) -> None:
    opened = open_model(stored("Net", *missing), data(), model="constants:Net")
    (note,) = [note for note in opened.notes if "constants" in note]
    assert all(name in note for name in missing)
    torch.testing.assert_close(opened.net.mu.flatten(), torch.tensor([0.4, 0.5, 0.6]))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("Running", "mu"), ("Drawn", "mu"), ("Bank", "bank"), ("Net", "body.1.running_mean"), ("Net", "body.3.bias")],
)
def test_what_training_or_chance_determines_may_not(kind: str, missing: str, stored: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="1 are missing"):
        open_model(stored(kind, missing), data(), model=f"constants:{kind}")
