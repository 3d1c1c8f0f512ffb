"""`faal export`: a repaired network on its way back into its owner's code."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tests.cli.conftest import Faal, arrays, network
from torch import nn

from faal import load_model

SHORT = ("--epochs", "1", "--steps", "1", "--crop", "0", "--batch-size", "10", "--device", "cpu")

OWN = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
"""


def net() -> nn.Module:
    found: dict[str, object] = {}
    exec(OWN, found)
    made: nn.Module = found["net"]()  # type: ignore[operator]
    return made


def test_a_network_of_ones_own_there_and_back(work: Path, faal: Faal) -> None:
    (work / "exported.py").write_text(OWN)
    arrays(work, classes=np.array(["bolt", "cam", "nut"]))
    torch.save(net().state_dict(), "model.pth")
    theirs = ("--data", "npz:data.npz", "--model", "exported:net", "--normalize", "0.4:0.3")
    assert faal("repair", "model.pth", *theirs, *SHORT, "--out", "mended").status == 0
    said = faal("export", "mended", "mended.safetensors", "--model", "exported:net")
    assert said.status == 0, said.err
    assert said.out.splitlines() == [
        "mended.safetensors: the weights of exported:net, 9 tensors",
        "The input is (images - mean) / std of images in [0, 1], by channel: mean 0.4; std 0.3.",
        "Classes, from 0: bolt, cam, nut",
    ]
    mine = net().eval()
    mine.load_state_dict(load_file("mended.safetensors"), strict=True)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = load_model("mended", model="exported:net")(images)
    assert torch.equal(mine((images - 0.4) / 0.3), expected)
    assert not torch.equal(mine(images), expected)


def test_a_network_that_takes_images_as_they_are(work: Path, faal: Faal) -> None:
    network(work)
    said = faal("export", "net.pt", "weights.pth")
    assert "The input is images in [0, 1], without normalisation." in said.out
    assert torch.load("weights.pth", weights_only=True).keys() == load_model("net.pt").state_dict().keys()


def test_an_existing_file_stays(work: Path, faal: Faal) -> None:
    network(work)
    said = faal("export", "net.pt", "net.pt")
    assert said.status == 2
    assert said.err.startswith("faal: net.pt exists")
    assert load_model("net.pt") is not None
