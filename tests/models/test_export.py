"""Export into a user's own code: a network with BatchNorm, dropout and tied weights, and normalisation."""

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.helpers import pets
from torch import Tensor, nn

import faal
from faal import checkpoint
from faal.errors import InputError
from faal.models import Architecture, Normalized, build_model, open_model
from faal.models import export as exporting
from faal.models.export import export
from faal.reading import read_tensors

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.eyes = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.first, self.second = nn.Linear(144, 144), nn.Linear(144, 144)
        self.second.weight = self.first.weight
        self.brain = nn.Linear(144, 3)

    def forward(self, x):
        return self.brain(self.second(self.first(self.eyes(x))))

class WithExtraState(Net):
    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass
"""
MEAN, STD = (0.31, 0.42, 0.53), (0.21, 0.24, 0.28)
NORMALIZE = "0.31,0.42,0.53:0.21,0.24,0.28"


@pytest.fixture
def own(work: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that a user has in the current folder."""
    (work / "handed.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [str(work), *sys.path])
    monkeypatch.delitem(sys.modules, "handed", raising=False)
    import handed

    yield handed
    del sys.modules["handed"]


def run(folder: Path, model: str = "handed:Net", normalize: str = NORMALIZE, **more: Any) -> nn.Module:
    """A run's folder with a best.pt; the network in it, whose running statistics are no longer the first ones."""
    architecture = Architecture(model=model, num_classes=3, normalize=normalize, **more)
    net = build_model(architecture, seed=1, model=model)
    net(pets.IMAGES)
    state = {
        "architecture": asdict(architecture),
        "classes": list(pets.CLASSES),
        "weights": net.state_dict(),
        "recipe": {"epsilon": 0.1},
    }
    checkpoint.save(folder / "run" / "best.pt", state)
    return net.eval()


def normalised(images: Tensor) -> Tensor:
    """Normalised by hand, as a user does it."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


@pytest.mark.parametrize("place", ["run", "run/best.pt", Path("run")])
def test_a_run_is_loaded_as_the_same_module(own: Any, work: Path, place: Path | str) -> None:
    trained = run(work)
    net = faal.load_model(place, model="handed:Net")
    assert isinstance(net, Normalized)
    assert isinstance(net.net, own.Net)
    assert not any(module.training for module in net.modules())
    assert {tensor.dtype for tensor in net.parameters()} == {torch.float32}
    assert torch.equal(net(pets.IMAGES), trained(pets.IMAGES))


@pytest.mark.usefixtures("own")
def test_the_callers_generator_does_not_change(work: Path) -> None:
    run(work)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    faal.load_model("run", model="handed:Net")
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", ["mine.pth", "mine.pt", "mine.safetensors"])
def test_an_exported_file_loads_into_its_own_class_with_equal_logits(own: Any, work: Path, name: str) -> None:
    trained = run(work)
    done = export(Path("run"), Path(name), model="handed:Net")
    weights = load_file(name) if name.endswith("safetensors") else torch.load(name, weights_only=True)
    net = own.Net()
    net.load_state_dict(weights, strict=True)
    assert torch.equal(net.eval()(normalised(pets.IMAGES)), trained(pets.IMAGES))
    assert done.normalisation == (MEAN, STD)
    assert (done.classes, done.tensors, done.notes) == (pets.CLASSES, len(net.state_dict()), [])


@pytest.mark.usefixtures("own")
def test_an_exported_file_is_foreign_weights_to_the_commands(work: Path) -> None:
    trained = run(work)
    export(Path("run"), Path("mine.pth"), model="handed:Net")
    opened = open_model(Path("mine.pth"), pets.data(), model="handed:Net", normalize=NORMALIZE)
    assert torch.equal(opened.net(pets.IMAGES), trained(pets.IMAGES))
    assert opened.notes == []


@pytest.mark.usefixtures("own")
def test_metadata_has_what_the_weights_lack(work: Path) -> None:
    run(work)
    export(Path("run"), Path("mine.safetensors"), model="handed:Net")
    with safe_open("mine.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == list(pets.CLASSES)
    assert json.loads(metadata["architecture"])["model"] == "handed:Net"
    assert (metadata["format"], metadata["normalize"]) == ("pt", NORMALIZE)


def test_a_network_that_takes_blue_first_is_recorded(work: Path) -> None:
    run(work, model="small", normalize=f"{NORMALIZE}:bgr")
    assert export(Path("run"), Path("w.safetensors")).reverse
    with safe_open("w.safetensors", "pt") as file:
        assert file.metadata()["normalize"] == f"{NORMALIZE}:bgr"


def test_a_network_of_this_program_and_without_normalisation(work: Path) -> None:
    trained = run(work, "small", "none", width=4)
    done = export(Path("run"), Path("mine.safetensors"))
    assert done.normalisation is None
    assert load_file("mine.safetensors").keys() == trained.state_dict().keys()
    assert torch.equal(faal.load_model("run")(pets.IMAGES), trained(pets.IMAGES))


def test_a_network_of_the_zoo(work: Path) -> None:
    net = faal.load_model("zoo:prn18w16-pgd-at")
    assert net(pets.IMAGES).shape == (4, 10)
    export(Path("zoo:prn18w16-pgd-at"), Path("mine.pth"))
    assert torch.load("mine.pth", weights_only=True).keys() == net.state_dict().keys()


def test_an_unfinished_run_is_noted(work: Path) -> None:
    run(work, "small", "none", width=4)
    (work / "run" / "metrics.jsonl").write_text('{"event": "epoch"}\n')
    (note,) = export(Path("run"), Path("mine.pth")).notes
    assert "may change" in note


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("mine.onnx", r"must end in \.safetensors or \.pth"),
        ("present.pth", r"present\.pth exists"),
        ("present.pth/mine.pth", r"cannot be written \(.*\); name a file in another folder"),
    ],
)
def test_a_file_that_cannot_be_written(work: Path, file: str, message: str) -> None:
    run(work, "small", "none", width=4)
    (work / "present.pth").write_text("present")
    with pytest.raises(InputError, match=message):
        export(Path("run"), Path(file))
    assert (work / "present.pth").read_text() == "present"


@pytest.mark.usefixtures("own")
def test_an_entry_that_is_no_tensor_needs_a_pth_file(work: Path) -> None:
    run(work, "handed:WithExtraState")
    with pytest.raises(InputError, match=r"handed:WithExtraState .*_extra_state.*\.pth"):
        export(Path("run"), Path("mine.safetensors"), model="handed:WithExtraState")
    export(Path("run"), Path("mine.pth"), model="handed:WithExtraState")
    assert torch.load("mine.pth", weights_only=True)["_extra_state"] == {"version": 2}


def test_a_module_without_the_function(own: Any, work: Path) -> None:
    run(work, "handed:Net")
    own.Net = None
    with pytest.raises(InputError, match="has no function 'Net'"):
        faal.load_model("run", model="handed:Net")


def test_a_path_that_is_no_run(work: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, "foreign.pth")
    for path, message in (
        ("nowhere", "cannot read"),
        (".", r"contains no best\.pt"),
        ("foreign.pth", "not a checkpoint of"),
    ):
        with pytest.raises(InputError, match=message):
            faal.load_model(path)


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
@pytest.mark.parametrize("entry", ["brain.weight", "eyes.1.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.usefixtures("own")
def test_weights_that_are_not_finite_are_refused(work: Path, name: str, entry: str, value: float) -> None:
    run(work)
    state = checkpoint.load(work / "run" / "best.pt")
    full = next(key for key in state["weights"] if key.endswith(entry))
    state["weights"][full].flatten()[0] = value
    checkpoint.save(work / "run" / "best.pt", state)
    with pytest.raises(InputError, match=rf"best\.pt has values in '{full}' that are not finite"):
        export(Path("run"), Path(name), model="handed:Net")
    assert not (work / name).exists()


@pytest.mark.usefixtures("own")
def test_a_file_that_another_process_writes_meanwhile_is_not_overwritten(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(work)
    read = exporting.read_checkpoint

    def meanwhile(path: Path) -> object:
        (work / "mine.pth").write_text("another's")
        return read(path)

    monkeypatch.setattr(exporting, "read_checkpoint", meanwhile)
    with pytest.raises(InputError, match=r"mine\.pth exists and is not overwritten"):
        export(Path("run"), Path("mine.pth"), model="handed:Net")
    assert (work / "mine.pth").read_text() == "another's"
    assert {path.name for path in work.iterdir()} == {"mine.pth", "run", "handed.py"}


@pytest.mark.medium
@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_a_flipped_bit_in_an_exported_file_is_noticed_or_has_no_effect(work: Path, name: str) -> None:
    run(work, "small", "none", width=4)
    export(Path("run"), Path(name))
    intact, rng = Path(name).read_bytes(), random.Random(0)
    weights = read_tensors(Path(name))
    assert isinstance(weights, dict)
    noticed = 0
    for place in [*range(8 * 300), *rng.sample(range(8 * 300, 8 * len(intact)), 100)]:
        content = bytearray(intact)
        content[place // 8] ^= 1 << (place % 8)
        Path(name).write_bytes(content)
        try:
            opened = open_model(Path(name), pets.data(), model="small", width=4)
        except InputError:
            noticed += 1
        else:
            assert all(torch.equal(tensor, weights[key]) for key, tensor in opened.net.state_dict().items())
    assert noticed > 100
