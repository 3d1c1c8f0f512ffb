"""Data sets from arrays, and what is said about arrays that are none."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faal.data import load_data
from faal.errors import InputError

X = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def saved(path: Path, **arrays: Any) -> str:
    np.savez(path / "shapes.npz", **arrays)
    return f"npz:{path / 'shapes.npz'}"


def refused(spec: str, size: tuple[int, int] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_data(spec, size=size)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_both_parts(tmp_path: Path) -> None:
    data = load_data(saved(tmp_path, x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2]))
    assert data.name == "shapes"
    assert data.classes == ("0", "1", "2")
    assert data.train is not None
    assert data.test is not None
    assert (data.train.n, data.test.n) == (6, 2)
    expected = torch.from_numpy(X.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert torch.equal(data.train.images.fetch(torch.arange(6)), expected)


def test_the_parts_under_their_other_names(tmp_path: Path) -> None:
    """As published collections of small images have them, with a validation part that is left alone."""
    parts = {"train_images": X, "val_images": X[:1], "test_images": X[:2]}
    labels = {"train_labels": Y[:, None], "val_labels": Y[:1, None], "test_labels": Y[:2, None]}
    data = load_data(saved(tmp_path, **parts, **labels))
    assert data.train is not None
    assert data.test is not None
    assert data.train.labels.tolist() == Y.tolist()
    assert data.test.labels.tolist() == Y[:2].tolist()
    assert data.test.images.shape == (3, 4, 5)


def test_a_test_part_alone_with_names(tmp_path: Path) -> None:
    data = load_data(saved(tmp_path, images=X, labels=Y, classes=["circle", "square", "star", "none"]))
    assert data.train is None
    assert data.classes == ("circle", "square", "star", "none")
    assert not data.counted
    assert load_data(saved(tmp_path, images=X, labels=Y)).counted


@pytest.mark.medium
@pytest.mark.parametrize(
    "layout",
    [X, X.transpose(0, 3, 1, 2), (X / 255).astype(np.float32), X / 255, np.asfortranarray(X)],
)
def test_layouts_and_kinds_mean_the_same(tmp_path: Path, layout: np.ndarray) -> None:
    data = load_data(saved(tmp_path, images=layout, labels=Y[:, None].astype(np.uint8)))
    assert data.test is not None
    expected = torch.from_numpy(X.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    torch.testing.assert_close(data.test.images.fetch(torch.arange(6)), expected, rtol=0, atol=1e-7)
    assert data.test.labels.tolist() == Y.tolist()


@pytest.mark.parametrize(("value", "becomes"), [(np.float32(1.0000001), 1.0), (-1e-7, 0.0), (1 + 1e-9, 1.0)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_rounding_is_clamped_and_said(tmp_path: Path, value: float, becomes: float, part: str) -> None:
    images = X / 255
    images[3, 0, 0, 0] = value
    parts = {name: {f"x_{name}": X / 255, f"y_{name}": Y} for name in ("train", "test")}
    parts[part][f"x_{part}"] = images.astype(type(value))
    data = load_data(saved(tmp_path, **parts["train"], **parts["test"]))
    split = getattr(data, part)
    assert split.images.fetch(torch.tensor([3]))[0, 0, 0, 0] == becomes
    kind = {"train": "training", "test": "test"}[part]
    assert [f"({kind} part) has values up to 1e-07 outside [0, 1]" in note for note in data.notes] == (
        [True] if abs(value - becomes) > 1e-8 else []
    )


@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 1, 4, 5), (6, 4, 5, 1)])
def test_gray(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = load_data(saved(tmp_path, images=X[..., 0].reshape(shape), labels=Y))
    assert data.test is not None
    assert data.test.images.shape == (1, 4, 5)
    assert torch.equal(data.test.images.fetch(torch.tensor([2]))[0, 0] * 255, torch.from_numpy(X[2, :, :, 0]).float())


def test_big_endian_numbers(tmp_path: Path) -> None:
    data = load_data(saved(tmp_path, images=(X / 255).astype(">f4"), labels=Y.astype(">i2")))
    assert data.test is not None
    assert data.test.labels.tolist() == Y.tolist()


def test_parts_of_two_sizes_can_be_brought_to_one(tmp_path: Path) -> None:
    spec = saved(tmp_path, x_train=X, y_train=Y, x_test=X[:, :2], y_test=Y)
    message = refused(spec)
    assert "images of 4x5" in message
    assert "images of 2x5" in message
    data = load_data(spec, size=(2, 2))
    assert data.train is not None
    assert data.test is not None
    assert data.train.images.shape == data.test.images.shape == (3, 2, 2)
    mixed = saved(tmp_path, x_train=X, y_train=Y, x_test=X[..., 0], y_test=Y)
    assert "with 1 channel;" in refused(mixed, size=(2, 2))


F = (X / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": X.astype(np.float32), "labels": Y}, "images from 0 to 25"),
        ({"images": X.astype(np.float32), "labels": Y}, "they must be in [0, 1]: divide by 255"),
        ({"images": F - 0.5, "labels": Y}, "undo the normalisation"),
        ({"images": F * 1.02, "labels": Y}, "[0, 1]: clamp the values"),
        ({"images": F * 1.1 - 0.05, "labels": Y}, "[0, 1]: clamp the values"),
        ({"images": F * 280 - 20, "labels": Y}, "[0, 1]: divide by 255, and clamp the values"),
        ({"images": np.where(X[0, 0, 0, 0] == X, np.nan, F), "labels": Y}, "NaN or infinite"),
        ({"images": np.where(X[0, 0, 0, 0] == X, np.inf, F), "labels": Y}, "NaN or infinite"),
        ({"images": X.astype(np.int64), "labels": Y}, "images contains int64; store images as uint8"),
        ({"images": X[0, 0], "labels": Y}, "images has shape (5, 3)"),
        ({"images": np.zeros((6, 4, 5, 2), np.uint8), "labels": Y}, "with 1 or 3 channels"),
        ({"images": X, "labels": Y / 2}, "labels contains float64; labels must be integers"),
        ({"images": X, "labels": Y > 0}, "labels contains bool; labels must be integers"),
        ({"images": X, "labels": np.eye(6, dtype=np.int64)}, "one class number per image"),
        ({"images": X, "labels": Y[:4]}, "has 6 images in images and 4 labels in labels"),
        ({"images": X, "labels": Y - 1}, "the label -1, out of range: 2 classes are numbered 0 to 1"),
        ({"images": X, "labels": Y, "classes": ["a", "b"]}, "the label 2, out of range: 2 classes"),
        ({"images": X, "labels": Y + 10**9}, "has the label 1000000002, out of range"),
        ({"images": X, "labels": Y * 0}, "has 1 class; a classifier needs at least two"),
        ({"images": X, "labels": Y, "classes": ["a", "b", "a"]}, "names the class 'a' twice"),
        ({"images": X, "labels": Y, "classes": np.eye(3)}, "classes must be a list of names"),
        ({"images": X, "labels": Y, "classes": [b"a", b"b", b"caf\xe9"]}, "not UTF-8; store it as text"),
        ({"images": X[:0], "labels": Y[:0]}, "contains no test images"),
        ({"images": X, "label": Y}, "lacks labels; images and labels belong together, and it contains images, label"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "lacks x_test"),
        ({"pictures": X, "numbers": Y}, "contains pictures, numbers; name the arrays x_train"),
        ({"images": X, "labels": Y, "x_test": X, "y_test": Y}, "contains both x_test and images"),
        ({"train_images": X, "train_labels": Y, "x_train": X, "y_train": Y}, "both x_train and train_images; keep the"),
        ({"images": X.astype(str), "labels": Y}, "instead of numbers"),
    ],
)
def test_what_is_said(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    message = refused(saved(tmp_path, **arrays))
    assert str(tmp_path / "shapes.npz") in message
    assert said in message


def test_a_missing_file(tmp_path: Path) -> None:
    assert f"there is no file {tmp_path / 'gone.npz'}" in refused(f"npz:{tmp_path / 'gone.npz'}")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all files, so that the system's refusal is simulated."""
    spec = saved(tmp_path, images=X, labels=Y)

    def load(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(np, "load", load)
    assert f"no permission to read {tmp_path / 'shapes.npz'}: " in refused(spec)


def test_a_truncated_file(tmp_path: Path) -> None:
    spec = saved(tmp_path, images=X, labels=Y)
    path = tmp_path / "shapes.npz"
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        assert f"{path} is truncated" in refused(spec)


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    assert "one.npy is truncated, damaged or not an .npz" in refused(f"npz:{tmp_path / 'one.npy'}")


def test_python_objects_are_not_loaded(tmp_path: Path) -> None:
    message = refused(saved(tmp_path, images=X, labels=np.array([{}] * 6, dtype=object)))
    assert "contains Python objects" in message
