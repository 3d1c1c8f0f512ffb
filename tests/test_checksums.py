"""Damage in any bit of a file is noticed, or has no effect: in ours, in earlier ones, in other programs'."""

import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from faal import checkpoint
from faal.audit.records.verdicts import read_arrays, write_arrays
from faal.checksums import TENSORS_SHA256, append_checksum, check_archive, tensors_sha256
from faal.errors import InputError
from faal.reading import read_metadata, read_tensors

WEIGHTS = {"a": torch.arange(12.0).view(3, 4), "b": torch.tensor(7), "c": torch.ones(5, dtype=torch.bfloat16)}
ARRAYS = {"label": np.arange(900) % 7, "names": np.array(["cat", "dog"]), "of_one": np.full(2000, 3, np.int16)}


def write_checkpoint(path: Path) -> None:
    checkpoint.save(path, {"weights": WEIGHTS, "recipe": {"lr": 0.1}})


def write_earlier_checkpoint(path: Path) -> None:
    torch.save({"format": checkpoint.FORMAT, "weights": WEIGHTS, "recipe": {"lr": 0.1}}, path)


def write_export(path: Path) -> None:
    content = save(WEIGHTS, {"classes": "[]"})
    path.write_bytes(content)
    with path.open("rb") as file:
        digest = tensors_sha256(file)
    path.write_bytes(save(WEIGHTS, {"classes": "[]", TENSORS_SHA256: digest}))


def write_npz(path: Path) -> None:
    write_arrays(path, ARRAYS)


def write_earlier_npz(path: Path) -> None:
    np.savez_compressed(path.open("wb"), **ARRAYS)


def write_stored_npz(path: Path) -> None:
    np.savez(path.open("wb"), **ARRAYS)


def read_export(path: Path) -> object:
    return read_tensors(path), read_metadata(path).get("classes")


def same(one: Any, other: Any) -> bool:
    """Whether values are equal bit for bit, at any depth, entries in order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "checkpoint": (write_checkpoint, checkpoint.load),
    "earlier checkpoint": (write_earlier_checkpoint, checkpoint.load),
    "export": (write_export, read_export),
    "npz": (write_npz, read_arrays),
    "earlier npz": (write_earlier_npz, read_arrays),
    "stored npz": (write_stored_npz, read_arrays),
}


def flipped(content: bytes, number: int) -> Iterator[bytes]:
    """Copies with one bit flipped: at random places, and all bits of some, since an archive's directory is short."""
    rng = random.Random(0)
    places = rng.sample(range(8 * len(content)), number) + list(range(8 * len(content) - 8 * 120, 8 * len(content), 7))
    for bit in places:
        copy = bytearray(content)
        copy[bit // 8] ^= 1 << (bit % 8)
        yield bytes(copy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_noticed_or_has_no_effect(tmp_path: Path, kind: str) -> None:
    path, (write, read) = tmp_path / "file", KINDS[kind]
    write(path)
    intact = read(path)
    noticed = 0
    for content in flipped(path.read_bytes(), 300):
        path.write_bytes(content)
        try:
            found = read(path)
        except InputError:
            noticed += 1
        else:
            assert same(found, intact)
    assert noticed > 200


@pytest.mark.parametrize("kind", ["checkpoint", "npz"])
def test_a_file_that_is_cut_anywhere_is_noticed(tmp_path: Path, kind: str) -> None:
    path, (write, read) = tmp_path / "file", KINDS[kind]
    write(path)
    content = path.read_bytes()
    for size in {*range(0, len(content), 37), *range(len(content) - 100, len(content))}:
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            read(path)


def test_numpy_alone_does_not_notice(tmp_path: Path) -> None:
    """Why the members are read to their end here: numpy stops where the array does."""
    path, lost = tmp_path / "file.npz", 0
    write_earlier_npz(path)
    for content in flipped(path.read_bytes(), 300):
        path.write_bytes(content)
        try:
            with np.load(path) as file:
                lost += not same({name: file[name] for name in file.files}, ARRAYS)
        except Exception:
            continue
    assert lost > 0


def test_the_checksum_is_no_obstacle_to_other_readers(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.pt")
    for options in ({}, {"mmap": True}):
        state = torch.load(tmp_path / "a.pt", weights_only=True, **options)
        assert same(state["weights"], WEIGHTS)
    write_npz(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert same({name: file[name] for name in file.files}, ARRAYS)
    for name in ("a.pt", "a.npz"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert archive.testzip() is None


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for write in (write_checkpoint, write_npz):
        write(tmp_path / "one")
        write(tmp_path / "two")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_archive_without_any_checksum_is_read(tmp_path: Path) -> None:
    """As PyTorch writes it on request."""
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read_tensors(tmp_path / "a.pt"), WEIGHTS)


def test_a_checksum_of_other_content_is_noticed(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("w+b") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("name", b"content")
        append_checksum(file)
    check_archive(tmp_path / "a.zip")
    content = (tmp_path / "a.zip").read_bytes()
    for changed in (content.replace(b"content", b"contend"), content[:-1] + b"x", content.replace(b"name", b"same")):
        (tmp_path / "a.zip").write_bytes(changed)
        with pytest.raises(zipfile.BadZipFile):
            check_archive(tmp_path / "a.zip")
