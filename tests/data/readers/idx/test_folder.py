"""Folders of IDX files: which files count, which data set they are, and what is missing."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.idx_files import NAMES, arrays, idx, write

from faal.data import fingerprint, load_data
from faal.data.dataset import Split
from faal.data.readers.idx.known import EMNIST, KNOWN
from faal.errors import InputError

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user, and no package of the system's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in KNOWN:
        monkeypatch.setitem(KNOWN, name, dataclasses.replace(KNOWN[name], packaged=None))
    return tmp_path / "cache" / "faal"


def as_official(monkeypatch: pytest.MonkeyPatch, name: str, parts: dict[str, np.ndarray]) -> None:
    """Have a data set's official labels be these."""
    labels = {part: hashlib.sha256(parts[f"y_{part}"].tobytes()).hexdigest() for part in ("train", "test")}
    monkeypatch.setitem(KNOWN, name, dataclasses.replace(KNOWN[name], labels=labels))


def pixels(split: Split | None) -> np.ndarray:
    assert split is not None
    return split.images.read(torch.arange(split.n)).numpy()


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder(tmp_path: Path, packed: bool) -> None:
    parts = arrays()
    data = load_data(f"idx:{write(tmp_path / 'own', parts, packed=packed)}")
    assert (data.name, data.classes, data.counted) == ("idx", ("0", "1", "2"), True)
    for key, split in (("train", data.train), ("test", data.test)):
        assert split is not None
        assert split.images.shape == (1, 5, 7)
        assert np.array_equal(pixels(split)[:, 0], parts[f"x_{key}"])
        assert split.labels.tolist() == parts[f"y_{key}"].tolist()
    sized = load_data(f"idx:{tmp_path / 'own'}", size=(4, 4), rgb=True)
    assert sized.train is not None
    assert sized.train.images.shape == (3, 4, 4)


def test_a_part_alone(tmp_path: Path) -> None:
    for part, there in (("train", (True, False)), ("test", (False, True))):
        only = {key: array for key, array in arrays().items() if key.endswith(part)}
        data = load_data(f"mnist:{write(tmp_path / part, only)}")
        assert (data.train is not None, data.test is not None) == there
        assert data.classes == tuple("0123456789")


def test_plain_counts_before_compressed_and_other_names_are_read_too(tmp_path: Path) -> None:
    parts = arrays()
    folder = write(tmp_path, parts)
    whole = load_data(f"idx:{folder}")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"half of a download")
    assert whole.train is not None
    again = load_data(f"idx:{folder}").train
    assert again is not None
    assert fingerprint(again) == fingerprint(whole.train)
    for name in NAMES.values():
        (folder / name).rename(folder / name.replace("-idx", ".idx"))
        (folder / name).mkdir()  # as one archive unpacks: a folder of the file's name
    dotted = load_data(f"idx:{folder}").train
    assert dotted is not None
    assert fingerprint(dotted) == fingerprint(whole.train)


def test_known_by_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = arrays(classes=10)
    as_official(monkeypatch, "fashion-mnist", parts)
    folder = write(tmp_path / "files", parts)
    found = load_data(f"idx:{folder}")
    assert (found.name, found.classes, found.notes, found.counted) == ("fashion-mnist", FASHION, (), False)
    assert load_data(f"fashion-mnist:{folder}").notes == ()
    with pytest.raises(InputError, match=f"Fashion-MNIST.*fashion-mnist:{folder}"):
        load_data(f"mnist:{folder}")
    other = write(
        tmp_path / "other", parts | {"y_test": parts["y_test"][::-1].copy(), "y_train": parts["y_train"] // 2}
    )
    data = load_data(f"fashion-mnist:{other}")
    assert (data.name, data.classes) == ("fashion-mnist", FASHION)
    assert ["not those of Fashion-MNIST" in note for note in data.notes] == [True]


def test_the_usual_places(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache comes before the package; a folder that is named is the only place, with torchvision's below it."""
    with pytest.raises(InputError) as caught:
        load_data("fashion-mnist")
    said = str(caught.value)
    assert str(cache / "fashion-mnist") in said
    assert "dataset-fashion-mnist" in said
    assert all(name in said for name in NAMES.values())
    packaged = write(tmp_path / "packaged", arrays(train=7))
    known = dataclasses.replace(KNOWN["fashion-mnist"], packaged=str(packaged))
    monkeypatch.setitem(KNOWN, "fashion-mnist", known)

    def count(spec: str) -> int:
        train = load_data(spec).train
        assert train is not None
        return train.n

    assert count("fashion-mnist") == 7
    write(cache / "fashion-mnist", arrays(train=8), packed=True)
    assert count("fashion-mnist") == 8
    write(tmp_path / "root" / "FashionMNIST" / "raw", arrays(train=9))
    assert count(f"fashion-mnist:{tmp_path / 'root'}") == 9
    with pytest.raises(InputError, match=f"no Fashion-MNIST in {tmp_path / 'gone'}, nor in FashionMNIST/raw"):
        load_data(f"fashion-mnist:{tmp_path / 'gone'}")


def test_a_relative_cache_folder_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / ".cache" / "faal" / "mnist", arrays())
    assert load_data("mnist").name == "mnist"


LETTERS = np.array([1, 26, 2, 1], np.uint8)


@pytest.mark.parametrize("mapping", [False, True])
def test_emnist_letters(tmp_path: Path, mapping: bool) -> None:
    """Images upright, labels from 1, names from the mapping or the program's own list: the same."""
    parts = arrays(train=4, test=4) | {"y_train": LETTERS, "y_test": LETTERS}
    write(tmp_path, parts, packed=True, prefix="emnist-letters-")
    if mapping:
        lines = [f"{n} {64 + n} {96 + n}" for n in range(1, 27)]
        (tmp_path / "emnist-letters-mapping.txt").write_text("\n".join(lines) + "\n\n")
    for spec in (f"idx:{tmp_path}", f"idx:{tmp_path / 'emnist-letters'}"):
        data = load_data(spec)
        assert data.name == "emnist-letters"
        assert data.classes == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        assert data.train is not None
        assert data.train.labels.tolist() == [0, 25, 1, 0]
        assert data.train.images.shape == (1, 7, 5)
        assert np.array_equal(pixels(data.train)[:, 0], parts["x_train"].transpose(0, 2, 1))
        assert any("transposed to be upright" in note for note in data.notes)


def test_emnist_has_so_many_classes() -> None:
    sizes = {"balanced": 47, "bymerge": 47, "byclass": 62, "digits": 10, "mnist": 10, "letters": 26}
    assert {name: len(set(classes)) for name, classes in EMNIST.items()} == {f"emnist-{n}": c for n, c in sizes.items()}


def test_several_in_a_folder(tmp_path: Path) -> None:
    for part in ("digits", "mnist"):
        write(tmp_path, arrays(), prefix=f"emnist-{part}-")
    with pytest.raises(InputError, match=r"emnist-digits, emnist-mnist\); name one: idx:.*/emnist-digits"):
        load_data(f"idx:{tmp_path}")
    assert load_data(f"idx:{tmp_path}/emnist-mnist").name == "emnist-mnist"
    write(tmp_path, arrays(train=9))
    with pytest.raises(InputError, match="several"):
        load_data(f"idx:{tmp_path}")


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def with_labels(folder: Path, *labels: int) -> None:
    (folder / NAMES["y_train"]).write_bytes(idx(np.array(labels, np.uint8)))


def named_twice(folder: Path) -> None:
    (folder / "test-labels-idx1-ubyte").write_bytes(b"")


REFUSED = {
    "no labels": (lambda folder: without(folder, NAMES["y_test"]), "no test labels; the folder must"),
    "no images": (lambda folder: without(folder, NAMES["x_train"]), "no train images; the folder must"),
    "fewer labels": (lambda folder: with_labels(folder, 1, 2), "contains 6 images and .* 2 labels"),
    "a label too many": (lambda folder: with_labels(folder, 0, 1, 2, 10, 4, 5), "the label 10, out of range"),
    "two names": (named_twice, "as t10k-labels and as test-labels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    harm, said = REFUSED[case]
    harm(write(tmp_path, arrays()))
    with pytest.raises(InputError, match=said) as caught:
        load_data(f"mnist:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_label_that_emnist_does_not_have(tmp_path: Path) -> None:
    write(tmp_path, arrays(), prefix="emnist-letters-")  # they begin at 1
    with pytest.raises(InputError, match=r"label 0.*emnist-letters"):
        load_data(f"idx:{tmp_path}")
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65\nB 66\n")
    with pytest.raises(InputError, match="not a mapping of labels"):
        load_data(f"idx:{tmp_path}")


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no IDX files"):
        load_data(f"idx:{tmp_path}")
    with pytest.raises(InputError, match=r"no folder .*gone.*gone-\*"):
        load_data(f"idx:{tmp_path / 'gone'}")
