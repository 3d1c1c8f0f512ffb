"""No file names code that is run: `module:function` is imported where the call itself names it, and nowhere else."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers import pets
from torch import nn

import faal
from faal import checkpoint
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model, zoo
from faal.models.export import export
from faal.study.zoo import publish

EVIL = """
from pathlib import Path

from torch import nn

Path("imported").touch()

def build():
    import evil_parts
    return evil_parts.net()

def other():
    import evil_parts
    return evil_parts.net()
"""
PARTS = """
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(432, 3))
"""
REFUSAL = (
    r'code that only a file names is not run; if you trust it, add --model evil:build \(in Python model="evil:build"\)'
)


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(432, 3))


@pytest.fixture
def run(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run's folder whose best.pt, and a card of the zoo, that name the module in the current folder."""
    (work / "evil.py").write_text(EVIL)
    (work / "evil_parts.py").write_text(PARTS)
    path = [entry for entry in sys.path if entry not in ("", str(work))]
    monkeypatch.setattr(sys, "path", path)
    architecture = asdict(Architecture(model="evil:build", num_classes=3))
    state = {"architecture": architecture, "classes": list(pets.CLASSES), "recipe": {"epsilon": 0.1}}
    checkpoint.save(work / "run" / "best.pt", {**state, "weights": net().state_dict()})
    monkeypatch.setattr(zoo, "FOLDER", work / "zoo")
    write_zoo(work / "zoo", state)
    yield work / "run"
    assert sys.path == path
    for name in ("evil", "evil_parts"):
        sys.modules.pop(name, None)


def write_zoo(folder: Path, state: dict[str, Any]) -> None:
    """The network in a zoo, written by hand: `publish` accepts none such."""
    folder.mkdir()
    save_file(net().state_dict(), folder / "evil.safetensors")
    estimate = {"value": 1.0, "low": 1.0, "high": 1.0}
    figures, threat = {"average": estimate, "worst": estimate | {"class": "a"}}, {"norm": "linf", "epsilon": 0.1}
    audit = {"n": 1, "split": "test", "threat": threat, "engine": "fast", "level": 0.95}
    card = {
        **state, "schema": zoo.SCHEMA, "name": "evil", "data": {"name": "pets", "source": "-"}, "method": "pgd-at",
        "seed": 1, "threat": threat, "audit": audit | {"attacks": {"clean": figures, "all": figures}},
        "sha256": checkpoint.digest(folder / "evil.safetensors"), "licence": "-",
    }  # fmt: skip
    (folder / "evil.json").write_text(json.dumps(card))


ENTRIES: dict[str, Callable[..., Any]] = {
    "open_model": lambda **named: open_model(Path("run"), pets.data(), **named),
    "load_model": lambda **named: faal.load_model("run", **named),
    "load_model, a file": lambda **named: faal.load_model("run/best.pt", **named),
    "export": lambda **named: export(Path("run"), Path("mine.pth"), **named),
    "the zoo": lambda **named: open_model(Path("zoo:evil"), pets.data(), **named),
    "load_model, the zoo": lambda **named: faal.load_model("zoo:evil", **named),
}


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_file_that_names_code_is_refused(entry: str) -> None:
    with pytest.raises(InputError, match=REFUSAL) as caught:
        ENTRIES[entry]()
    assert "\n" not in str(caught.value)
    assert not Path("imported").exists()
    assert "evil" not in sys.modules


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_the_call_names_is_built(entry: str) -> None:
    """With what its function imports from the same folder."""
    assert ENTRIES[entry](model="evil:build") is not None
    assert Path("imported").exists()


@pytest.mark.usefixtures("run")
def test_another_name_than_the_recorded_one_is_noted() -> None:
    opened = open_model(Path("run"), pets.data(), model="evil:other")
    assert any("evil:build" in note and "evil:other" in note for note in opened.notes)
    assert opened.architecture.model == "evil:other"
    assert not open_model(Path("run"), pets.data(), model="evil:build").notes
    (note,) = export(Path("run"), Path("mine.pth"), model="evil:other").notes
    assert "evil:other" in note
    with pytest.warns(UserWarning, match=r"evil:build.*evil:other"):
        faal.load_model("run", model="evil:other")


@pytest.mark.usefixtures("run")
def test_another_network_that_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"evil:build.*small"):
        open_model(Path("run"), pets.data(), model="small")
    assert not Path("imported").exists()


def test_a_checkpoint_of_the_programs_own_network_in_ones_own(run: Path) -> None:
    state = checkpoint.load(run / "best.pt")
    checkpoint.save(run / "best.pt", {**state, "architecture": {**state["architecture"], "model": "small", "width": 4}})
    opened = open_model(run, pets.data(), model="evil:build")
    assert (opened.architecture.model, opened.architecture.width) == ("evil:build", None)
    assert torch.equal(opened.net.state_dict()["1.weight"], state["weights"]["1.weight"])


@pytest.mark.parametrize("named", [None, "evil:build"])
def test_the_zoo_takes_none(run: Path, named: str | None) -> None:
    with pytest.raises(InputError, match="needs code of another package"):
        publish(run, "mine", pets.data(), source="-", device=torch.device("cpu"), model=named)
    assert not Path("imported").exists()


def test_an_architecture_alone_names_nothing(run: Path) -> None:
    with pytest.raises(InputError, match=REFUSAL):
        build_model(Architecture(model="evil:build", num_classes=3), seed=1)
    assert not Path("imported").exists()
