"""CIFAR from files in the official layout, small enough to write here."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faal.data import fingerprint, load_data
from faal.errors import InputError

NAMES = ["airplane", "automobile", "bird"]


def write(path: Path, content: dict[str, Any], text_keys: bool, protocol: int = 2) -> None:
    """The official files have bytes for keys and names; some copies that Python 3 wrote have text."""
    keyed = {key if text_keys else key.encode(): value for key, value in content.items()}
    path.write_bytes(pickle.dumps(keyed, protocol=protocol))


def pixels_and_labels(n: int, seed: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3072), dtype=np.uint8), rng.integers(0, 3, n).tolist()


def write_cifar10(folder: Path, *, text_keys: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]):
        data, labels = pixels_and_labels(4, seed)
        write(folder / name, {"data": data, "labels": labels, "batch_label": "x"}, text_keys)
    names = NAMES if text_keys else [name.encode() for name in NAMES]
    write(folder / "batches.meta", {"label_names": names, "num_vis": 3072}, text_keys)
    return folder


def write_cifar100(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(["train", "test"]):
        data, fine = pixels_and_labels(6, seed)
        write(folder / name, {"data": data, "fine_labels": fine, "coarse_labels": [0] * 6}, False)
    meta = {"fine_label_names": [name.encode() for name in NAMES], "coarse_label_names": [b"things"]}
    write(folder / "meta", meta, False)
    return folder


def write_binary(folder: Path, name: str) -> Path:
    """The same images and labels as records: a coarse label first in CIFAR-100, then the label, then the pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"cifar10": [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"], "cifar100": ["train", "test"]}[name]
    for seed, file in enumerate(files):
        rows, labels = pixels_and_labels(4 if name == "cifar10" else 6, seed)
        before = [np.full((len(labels), 1), 77, np.uint8)] if name == "cifar100" else []
        records = np.concatenate([*before, np.array(labels, np.uint8)[:, None], rows], axis=1)
        (folder / f"{file}.bin").write_bytes(records.tobytes())
    meta = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt"}[name]
    (folder / meta).write_text("\n".join(NAMES) + "\n\n")
    return folder


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("name", "pickled", "binary"),
    [
        ("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin"),
        ("cifar100", "cifar-100-python", "cifar-100-binary"),
    ],
)
def test_the_binary_version_is_the_same_data(
    tmp_path: Path, name: str, pickled: str, binary: str, inside: bool
) -> None:
    (write_cifar10 if name == "cifar10" else write_cifar100)(tmp_path / "py" / pickled)
    folder = write_binary(tmp_path / "bin" / binary, name)
    one, two = load_data(f"{name}:{tmp_path / 'py'}"), load_data(f"{name}:{folder if inside else folder.parent}")
    assert one.classes == two.classes
    for first, second in ((one.train, two.train), (one.test, two.test)):
        assert first is not None
        assert second is not None
        assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize("size", [0, 3073 * 4 - 1])
def test_a_truncated_binary_file(tmp_path: Path, size: int) -> None:
    path = write_binary(tmp_path, "cifar10") / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:size])
    message = refused(f"cifar10:{tmp_path}")
    assert f"{path} has {size:,} bytes" in message
    assert "records of 3,073" in message


def test_a_missing_binary_file(tmp_path: Path) -> None:
    (write_binary(tmp_path, "cifar100") / "test.bin").unlink()
    assert f"there is no file {tmp_path / 'test.bin'}" in refused(f"cifar100:{tmp_path}")


@pytest.mark.parametrize("text_keys", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_cifar10(tmp_path: Path, text_keys: bool, inside: bool) -> None:
    folder = write_cifar10(tmp_path / "cifar-10-batches-py", text_keys=text_keys)
    data = load_data(f"cifar10:{folder if inside else tmp_path}")
    assert data.name == "cifar10"
    assert data.classes == tuple(NAMES)
    assert data.train is not None
    assert data.test is not None
    assert (data.train.n, data.test.n) == (20, 4)
    written = [pixels_and_labels(4, seed) for seed in range(6)]
    # A row is red, then green, then blue, each line by line.
    expected = np.concatenate([rows for rows, _ in written[:5]]).reshape(20, 3, 32, 32).astype(np.float32) / 255
    np.testing.assert_array_equal(data.train.images.fetch(torch.arange(20)).numpy(), expected)
    assert data.train.labels.tolist() == [label for _, labels in written[:5] for label in labels]
    assert data.test.labels.tolist() == written[5][1]
    red = data.test.images.fetch(torch.tensor([1]))[0, 0, 2, 5]
    assert red == torch.tensor(written[5][0][1, 2 * 32 + 5] / 255, dtype=torch.float32)


def test_cifar100_has_the_fine_labels(tmp_path: Path) -> None:
    write_cifar100(tmp_path / "cifar-100-python")
    data = load_data(f"cifar100:{tmp_path}")
    assert data.classes == tuple(NAMES)
    assert data.train is not None
    assert data.test is not None
    assert data.train.labels.tolist() == pixels_and_labels(6, 0)[1]
    assert data.test.labels.tolist() == pixels_and_labels(6, 1)[1]


def test_resized(tmp_path: Path) -> None:
    data = load_data(f"cifar10:{write_cifar10(tmp_path)}", size=(8, 16))
    assert data.train is not None
    assert data.train.images.shape == (3, 8, 16)


def refused(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_data(spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_such_folder(tmp_path: Path) -> None:
    message = refused(f"cifar10:{tmp_path / 'gone'}")
    assert f"no cifar-10-batches-py and no cifar-10-batches-bin in {tmp_path / 'gone'}" in message


def test_cifar10_is_not_cifar100(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    assert "no cifar-100-python and no cifar-100-binary in" in refused(f"cifar100:{tmp_path}")


def test_a_missing_file(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_3").unlink()
    assert f"there is no file {folder / 'data_batch_3'}" in refused(f"cifar10:{tmp_path}")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = write_cifar10(tmp_path) / "data_batch_2"
    path.write_bytes(path.read_bytes()[:5000])
    assert f"{path} is truncated" in refused(f"cifar10:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2]}, "uint8 (4, 3072) for 3 labels"),
        ({"data": np.zeros((4, 3000), np.uint8), "labels": [0, 1, 2, 0]}, "uint8 (4, 3000) for 4 labels"),
        ({"data": np.zeros((4, 3072), np.int32), "labels": [0, 1, 2, 0]}, "int32 (4, 3072) for 4 labels"),
        ({"data": [1, 2], "labels": [0, 1]}, "contains list for 2 labels"),
        ({"labels": [0, 1, 2, 0]}, "lacks 'data'"),
        ({"data": np.zeros((4, 3072), np.uint8)}, "lacks 'labels'"),
        ({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 0.5, 0]}, "labels must be integers"),
        ({"data": np.zeros((4, 3072), np.uint8), "labels": {"a": 1}}, "instead of numbers"),
    ],
)
def test_a_damaged_file(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    path = write_cifar10(tmp_path) / "data_batch_4"
    write(path, content, False)
    message = refused(f"cifar10:{tmp_path}")
    assert str(path) in message
    assert said in message


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range(tmp_path: Path, label: int) -> None:
    path = write_cifar10(tmp_path) / "test_batch"
    write(path, {"data": np.zeros((2, 3072), np.uint8), "labels": [0, label]}, False)
    message = refused(f"cifar10:{tmp_path}")
    assert f"(test part) has the label {label}, out of range" in message


def test_no_names(tmp_path: Path) -> None:
    write(write_cifar10(tmp_path) / "batches.meta", {"label_names": 7}, False)
    assert "batches.meta lacks the list label_names" in refused(f"cifar10:{tmp_path}")


class Touches:
    """Unpickled by an ordinary reader, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("file", ["batches.meta", "data_batch_1", "test_batch"])
def test_a_malicious_file_is_not_run(tmp_path: Path, file: str) -> None:
    folder, marker = write_cifar10(tmp_path / "data"), tmp_path / "marker"
    write(folder / file, {"data": Touches(marker), "labels": [], "label_names": []}, False)
    message = refused(f"cifar10:{folder}")
    assert "io.open" in message or "_io.open" in message
    assert "could run code" in message
    assert not marker.exists()


def test_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DIR: the folder of `faal data`, then torchvision's root; no other files there count."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data")  # not in a folder of its own
    with pytest.raises(InputError, match="faal data cifar10"):
        load_data("cifar10")
    write_cifar10(tmp_path / "data" / "cifar-10-batches-py")
    assert load_data("cifar10").name == "cifar10"
    own = write_cifar10(tmp_path / "cache" / "faal" / "cifar10" / "cifar-10-batches-py")
    (own / "test_batch").write_bytes(b"")
    with pytest.raises(InputError, match="cache/faal/cifar10/cifar-10-batches-py/test_batch"):
        load_data("cifar10")
    write_cifar100(tmp_path / "data" / "cifar-100-python")
    assert load_data("cifar100").name == "cifar100"
