"""Networks from paths: checkpoints of this program, foreign weights, and the messages where these do not fit."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from faal import checkpoint
from faal.config import Threat
from faal.data import DataSet, Split
from faal.data.images import InMemory
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model

SMALL = Architecture(model="small", num_classes=3, channels=1, width=4)
CLASSES = ("cat", "dog", "elk")


def data(classes: tuple[str, ...] = CLASSES) -> DataSet:
    images = InMemory(torch.zeros(len(classes), 1, 8, 8))
    return DataSet("pets", classes, train=None, test=Split(images, torch.arange(len(classes))))


def native(folder: Path, **changed: Any) -> Path:
    """A checkpoint of this program, some of its entries replaced, those of value None left out."""
    state = {
        "architecture": asdict(SMALL),
        "classes": list(CLASSES),
        "weights": build_model(SMALL, seed=1).state_dict(),
        "recipe": {"epsilon": 0.1},
    }
    entries = {name: value for name, value in (state | changed).items() if value is not None}
    checkpoint.save(folder / "best.pt", entries)
    return folder / "best.pt"


def foreign(folder: Path) -> Path:
    torch.save(build_model(SMALL, seed=1).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.mark.parametrize("by_folder", [True, False])
def test_a_native_checkpoint(tmp_path: Path, by_folder: bool) -> None:
    path = native(tmp_path)
    opened = open_model(tmp_path if by_folder else path, data())
    assert (opened.architecture, opened.threat, opened.notes) == (SMALL, Threat("linf", 0.1), [])
    assert opened.record == {"path": "best.pt", "sha256": checkpoint.digest(path), "architecture": "small"}
    assert not opened.net.training
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(opened.net(images), build_model(SMALL, seed=1).eval()(images))


def test_settings_of_another_version_are_ignored(tmp_path: Path) -> None:
    trained = open_model(native(tmp_path, recipe={"epsilon": 0.1, "zeal": 3}), data()).trained
    assert trained == {"epsilon": 0.1, "chosen_on_test": False}


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        ({"data": "f", "withheld": ["part", "other"]}, {"withheld": ["part", "other"]}),
        ({"data": "f", "withheld": []}, {}),
        ({"data": "f"}, {}),
    ],
)
def test_withheld_parts_are_recorded(tmp_path: Path, held_out: dict[str, Any], expected: dict[str, list[str]]) -> None:
    record = open_model(native(tmp_path, held_out=held_out), data()).record
    assert {name: value for name, value in record.items() if name == "withheld"} == expected


def test_foreign_weights_and_what_is_assumed_of_them(tmp_path: Path) -> None:
    opened = open_model(foreign(tmp_path), data(), model="small", width=4)
    assert opened.threat == Threat("linf", 8 / 255)
    assert (opened.trained, opened.notes) == ({}, [])
    assert "normalize" not in opened.record
    normalised = open_model(foreign(tmp_path), data(), model="small", width=4, normalize="0.5:0.25")
    assert normalised.record["normalize"] == "0.5:0.25"
    assert torch.equal(
        torch.cat([p.flatten() for p in opened.net.parameters()]),
        torch.cat([p.flatten() for p in build_model(SMALL, seed=1).parameters()]),
    )


@pytest.mark.parametrize(
    ("log", "note"),
    [
        ('{"event": "batch"}\n', "the best network of its first 0 epochs and may change"),
        ('{"event": "epoch"}\n{"event": "epoch"}\n', "of its first 2 epochs"),
        ('{"event": "epoch"}\n{"event": "ba', "of its first 1 epochs"),
        ('{"event": "epoch"}\n{"event": "end", "notes": []}\n', None),
        ("", None),
    ],
)
def test_an_unfinished_run(tmp_path: Path, log: str, note: str | None) -> None:
    path = native(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(log)
    notes = open_model(tmp_path, data()).notes
    assert note is None or note in notes[0]
    assert len(notes) == (note is not None)
    assert open_model(path.rename(tmp_path / "last.pt"), data()).notes == []


def test_images_of_another_size_than_in_training(tmp_path: Path) -> None:
    assert open_model(native(tmp_path, image_size=[8, 8]), data()).notes == []
    (note,) = open_model(native(tmp_path, image_size=[16, 12]), data()).notes
    assert note == "The network was trained on images of 16x12 pixels; these are 8x8; --size 16,12 resizes them."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "small", "width": 4, "normalize": "none"}, "--width"),
        ({"width": 4}, "--width"),
        ({"depth": 3}, "--depth"),
        ({"normalize": "0.5:0.5"}, "--normalize"),
    ],
)
def test_a_native_checkpoint_needs_no_description(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"records its own network.* {message}$"):
        open_model(native(tmp_path), data(), **options)


def test_foreign_weights_need_the_network_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--width, --depth .*--model"):
        open_model(foreign(tmp_path), data(), width=4, depth=3)
    with pytest.raises(InputError, match=r"not a checkpoint.*--model"):
        open_model(foreign(tmp_path), data())


def test_classes_in_another_order(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="class 1 was 'dog' and is 'elk'"):
        open_model(native(tmp_path), data(("cat", "elk", "dog")))


def test_a_new_name_that_moves_the_others(tmp_path: Path) -> None:
    """A cat folder that is renamed comes last, and every other label means another class."""
    with pytest.raises(InputError, match="class 0 was 'cat' and is 'dog'"):
        open_model(native(tmp_path), data(("dog", "elk", "yak")))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "dog", "yak"), "trained on the classes elk, the data has yak instead"),
        (("a", "b", "c"), "trained on the classes cat, dog, elk, the data has a, b, c instead"),
    ],
)
def test_classes_of_other_names(tmp_path: Path, classes: tuple[str, ...], message: str) -> None:
    (note,) = open_model(native(tmp_path), data(classes)).notes
    assert message in note


def test_a_long_list_of_other_classes_is_cut(tmp_path: Path) -> None:
    many = Architecture(model="small", num_classes=9, channels=1, width=4)
    weights = build_model(many, seed=1).state_dict()
    path = native(tmp_path, architecture=asdict(many), weights=weights, classes=list("abcdefghi"))
    (note,) = open_model(path, data(tuple("ABCDEFGHI"))).notes
    assert "the data has A, B, C, D, E and 4 more" in note


def test_a_checkpoint_that_names_no_classes(tmp_path: Path) -> None:
    assert open_model(native(tmp_path, classes=None), data()).notes == []


def test_classes_that_were_counted_and_may_be_more(tmp_path: Path) -> None:
    """Arrays without names, and no image of the last class."""
    counted = replace(data(("0", "1")), counted=True)
    advice = r"the number of classes is the highest label plus 1: .* list all in the array `classes`"
    with pytest.raises(InputError, match=f"has 3 classes, pets has 2; .*{advice}"):
        open_model(native(tmp_path), counted)
    with pytest.raises(InputError, match=f"pets has 2 classes: .*{advice}"):
        open_model(foreign(tmp_path), counted, model="small", width=4)


def test_gray_images_before_a_network_for_colour(tmp_path: Path) -> None:
    colour = Architecture(model="small", num_classes=3, channels=3, width=4)
    weights = build_model(colour, seed=1).state_dict()
    path = native(tmp_path, architecture=asdict(colour), weights=weights)
    with pytest.raises(InputError, match="3 channels, pets has 1; --rgb"):
        open_model(path, data())
    torch.save(weights, path)
    with pytest.raises(InputError, match="--rgb"):
        open_model(path, data(), model="small", width=4)


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3 classes, pets has 4"):
        open_model(native(tmp_path), data(("a", "b", "c", "d")))
    colour = DataSet("pets", CLASSES, None, Split(InMemory(torch.zeros(3, 3, 8, 8)), torch.arange(3)))
    with pytest.raises(InputError, match="1 channels, pets has 3"):
        open_model(native(tmp_path), colour)


@pytest.mark.parametrize("name", [None, "last.pt"])
def test_a_folder_without_a_network(tmp_path: Path, name: str | None) -> None:
    if name:
        native(tmp_path).rename(tmp_path / name)
    with pytest.raises(InputError, match=r"no best\.pt"):
        open_model(tmp_path, data())
    if name:
        assert open_model(tmp_path / name, data()).threat.epsilon == 0.1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": None}, "it lacks 'architecture'"),
        ({"architecture": 7}, "does not describe a network"),
        ({"architecture": asdict(SMALL) | {"heads": 8}}, "it has heads 8"),
        ({"architecture": asdict(SMALL) | {"width": "wide"}}, "it has width 'wide'"),
        ({"architecture": {"model": "small"}}, "num_classes"),
        ({"architecture": asdict(SMALL) | {"width": -1}}, "width is 1 or more"),
        ({"recipe": None}, "it lacks 'recipe'"),
        ({"recipe": {"epsilon": "far"}}, "does not describe a network"),
        ({"held_out": 7}, "does not describe a network"),
        ({"weights": None}, "does not contain the weights of the small"),
        ({"weights": 3}, "does not contain the weights of the small"),
        ({"weights": {}}, "does not contain the weights of the small"),
        (
            {"weights": {name: tensor[:1] for name, tensor in build_model(SMALL).state_dict().items() if tensor.dim()}},
            "does not contain the weights of the small",
        ),
    ],
)
def test_a_native_checkpoint_that_was_changed(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_model(native(tmp_path, **changed), data())
    assert "\n" not in str(caught.value)
    assert "best.pt" in str(caught.value)


SIZES = [{"width": 2**20}, {"width": 2**62}, {"width": 2**70}, {"depth": 2**40}, {"width": 2**12, "depth": 9}]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["small", "prn18", "rn18", "wrn34-10", "wrn99999999999-9", "wrn10-99999999999"])
def test_a_network_of_another_size_than_its_weights_takes_no_memory(
    tmp_path: Path, size: dict[str, int], name: str
) -> None:
    path = native(tmp_path, architecture={"model": name, "num_classes": 3, "channels": 1, **size})
    with pytest.raises(InputError) as caught:
        open_model(path, data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("entry", ["features.1.running_var", "features.1.running_mean", "linear.bias"])
def test_weights_that_are_not_finite(tmp_path: Path, value: float, entry: str) -> None:
    weights = build_model(SMALL, seed=1).state_dict()
    weights[entry][0] = value
    with pytest.raises(InputError, match=f"{entry}.*not finite"):
        open_model(native(tmp_path, weights=weights), data())
