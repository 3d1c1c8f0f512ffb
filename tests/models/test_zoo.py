"""Reading the zoo: names, cards, digests, and the messages where a file was changed. The zoo that is shipped."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from faal import checkpoint
from faal.config import Threat
from faal.data import DataSet, InMemory, Split
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model, zoo
from faal.models.zoo import read_card, read_zoo, zoo_name, zoo_names

SMALL = Architecture(model="small", num_classes=3, channels=1, width=4)
CLASSES = ("cat", "dog", "elk")
MAX_BYTES = 60_000_000
ESTIMATE = {"value": 0.5, "low": 0.25, "high": 0.75}
FIGURES = {"average": ESTIMATE, "worst": {**ESTIMATE, "class": "cat"}}
AUDIT: dict[str, Any] = {
    "n": 3,
    "split": "test",
    "threat": {"norm": "l2", "epsilon": 0.5},
    "engine": "reference",
    "level": 0.95,
    "attacks": {"clean": FIGURES, "pgd20": FIGURES, "all": FIGURES},
}


def data() -> DataSet:
    return DataSet("pets", CLASSES, train=None, test=Split(InMemory(torch.zeros(3, 1, 8, 8)), torch.arange(3)))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one network, in place of the program's own."""
    weights = build_model(SMALL, seed=1).state_dict()
    save_file({name: t.half() if t.dim() > 1 else t for name, t in weights.items()}, tmp_path / "pets.safetensors")
    change(tmp_path, {})
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    return tmp_path


def change(shipped: Path, changed: dict[str, Any]) -> None:
    """Write the card, some of its entries replaced, those of value None left out."""
    card = {
        "schema": "faal-zoo/1",
        "name": "pets",
        "architecture": asdict(SMALL),
        "classes": list(CLASSES),
        "data": {"name": "pets", "source": "-"},
        "method": "faal-at",
        "seed": 1,
        "recipe": {"norm": "l2", "epsilon": 0.5, "method": "faal-at"},
        "threat": {"norm": "l2", "epsilon": 0.5},
        "audit": AUDIT,
        "sha256": checkpoint.digest(shipped / "pets.safetensors"),
        "licence": "-",
    }
    entries = {key: value for key, value in (card | changed).items() if value is not None}
    (shipped / "pets.json").write_text(json.dumps(entries))


def test_names(shipped: Path) -> None:
    assert zoo_names() == ["pets"]
    assert zoo_name(Path("zoo:pets")) == "pets"
    assert zoo_name(Path("runs/zoo:pets")) is None
    assert zoo_name(Path("zoo/pets.safetensors")) is None


def test_the_network_of_a_card(shipped: Path) -> None:
    opened = open_model(Path("zoo:pets"), data())
    assert (opened.architecture, opened.threat, opened.notes) == (SMALL, Threat("l2", 0.5), [])
    assert opened.trained["method"] == "faal-at"
    assert opened.record == {
        "path": "zoo:pets",
        "sha256": checkpoint.digest(shipped / "pets.safetensors"),
        "architecture": "small",
    }
    assert not opened.net.training
    own = build_model(SMALL, seed=1).state_dict()
    for name, tensor in opened.net.state_dict().items():
        assert tensor.dtype == own[name].dtype
        assert torch.equal(tensor, own[name].half().float() if tensor.dim() > 1 else own[name])


@pytest.mark.parametrize("name", ["pet", "../pets", "pets.json", ""])
def test_an_unknown_name_names_the_nearest(name: str, shipped: Path) -> None:
    near = r"did you mean 'pets'\? " if name != "" else ""
    with pytest.raises(InputError, match=f"'{name}'.*{near}`faal zoo`"):
        open_model(Path(f"zoo:{name}"), data())


def test_weights_that_are_not_the_cards(shipped: Path) -> None:
    path = shipped / "pets.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not the file that its card describes"):
        read_zoo("pets")
    path.write_bytes(content[:100])
    with pytest.raises(InputError, match="truncated"):
        read_zoo("pets")
    path.unlink()
    with pytest.raises(InputError, match="zoo:pets are missing"):
        read_zoo("pets")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schema": "faal-zoo/9"}, "has the schema 'faal-zoo/9'"),
        ({"sha256": None, "recipe": None}, "lacks recipe, sha256"),
        ({"name": "dogs"}, "is another network's, or was changed"),
        ({"architecture": "small"}, "lacks architecture, or has an entry of another type"),
        ({"architecture": {}}, r"lacks architecture\.model, or"),
        ({"sha256": 7}, "lacks sha256, or"),
        ({"data": {"name": "pets"}}, r"lacks data\.source, or"),
        ({"threat": {"norm": "l2", "epsilon": "0.5"}}, r"lacks threat\.epsilon, or"),
        ({"audit": {}}, r"lacks audit\.n, audit\.split, audit\.threat, or"),
        ({"audit": AUDIT | {"attacks": []}}, r"lacks audit\.attacks, or"),
        ({"audit": AUDIT | {"attacks": {"clean": FIGURES}}}, r"lacks audit\.attacks\.all, or"),
        (
            {"audit": AUDIT | {"attacks": AUDIT["attacks"] | {"pgd20": FIGURES | {"worst": ESTIMATE}}}},
            r"lacks audit\.attacks\.pgd20\.worst\.class, or",
        ),
        ({"origin": {"path": "best.pt"}}, r"lacks origin\.sha256, or"),
        ({"narrowing": {}}, r"lacks narrowing\.samples, narrowing\.changed, or"),
        ({"commit": "abc"}, "lacks commit, or"),
        ({"architecture": asdict(SMALL) | {"model": "os:system"}}, "--model os:system"),
    ],
)
def test_a_card_that_was_changed(changed: dict[str, Any], message: str, shipped: Path) -> None:
    change(shipped, changed)
    with pytest.raises(InputError, match=message) as caught:
        open_model(Path("zoo:pets"), data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"])
def test_a_card_that_is_no_json(content: str, shipped: Path) -> None:
    (shipped / "pets.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"the card .*pets\.json"):
        read_card("pets")


def test_a_card_of_another_network(shipped: Path) -> None:
    change(shipped, {"architecture": asdict(SMALL) | {"width": 8}})
    with pytest.raises(InputError, match="zoo:pets does not contain"):
        open_model(Path("zoo:pets"), data())


def test_a_card_records_its_own_network(shipped: Path) -> None:
    with pytest.raises(InputError, match="--width"):
        open_model(Path("zoo:pets"), data(), model="small", width=4)
    assert open_model(Path("zoo:pets"), data(), model="small").notes == open_model(Path("zoo:pets"), data()).notes


def test_the_zoo_that_is_shipped() -> None:
    """Every card has its weights, with the digest it names; there is no other file; all weights fit."""
    files = {path.name for path in zoo.FOLDER.iterdir()}
    names = zoo_names()
    assert files == {"README.md", *(f"{name}{end}" for name in names for end in (".json", ".safetensors"))}
    for name in names:
        card, found = read_zoo(name)
        assert found == card["sha256"]
        net = build_model(Architecture(**card["architecture"]))
        net.load_state_dict(card["weights"])
    assert sum(path.stat().st_size for path in zoo.FOLDER.glob("*.safetensors")) <= MAX_BYTES


def test_the_folder_of_the_checkout_is_the_packages() -> None:
    checkout = Path(__file__).parents[2] / "zoo"
    assert checkout.resolve() == zoo.FOLDER.resolve()
