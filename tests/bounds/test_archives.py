"""Archives that unpack to far more than their size."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from faal.audit.records.verdicts import read_arrays
from faal.bounds import archives
from faal.data import load_data
from faal.errors import InputError
from faal.reading import read_tensors
from faal.report.files.arrays import _arrays

READERS: dict[str, Callable[[Path], object]] = {
    "data": lambda path: load_data(f"npz:{path}"),
    "verdicts": read_arrays,
    "page": _arrays,
    "checkpoint": read_tensors,
}


@pytest.mark.parametrize("reader", READERS)
def test_an_archive_of_zeros(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it unpacks to more than the bound, it is refused before; the message states sizes and the way out."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=np.zeros((100, 100, 100), np.uint8), labels=np.arange(100) % 2)
    if reader == "checkpoint":
        torch.save({"a": torch.zeros(250_000)}, tmp_path / "stored.pt")
        with zipfile.ZipFile(tmp_path / "stored.pt") as stored, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name in stored.namelist():
                new.writestr(name, stored.read(name))
    READERS[reader](path)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 500_000)
    with pytest.raises(InputError, match=r"unpacks to 1,0\d\d,\d{3}, more than the 500,000") as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)


def test_an_archive_without_compression_may_have_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED", 0)
    np.savez(tmp_path / "x.npz", images=np.zeros((100, 100, 100), np.uint8), labels=np.arange(100) % 2)
    assert load_data(f"npz:{tmp_path / 'x.npz'}").test is not None


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


NO_ARRAYS = {
    "a header for a petabyte": header((10**15,)),
    "a header of negative size": header((-5, 3)),
    "a shape beyond an index": header((0, 10**18, 10**18)),
    "a long header": b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{" * 1000,
    "a deep header": header((1,), "u1', 'x': " + "(" * 3000 + ")" * 3000 + ", 'y': '"),
    "a type within a type": header((1,), "(1000000000,)u1"),
    "no header": b"text",
}


@pytest.mark.parametrize("reader", ["data", "verdicts", "page"])
@pytest.mark.parametrize("case", NO_ARRAYS)
def test_headers_that_no_array_follows(case: str, reader: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", NO_ARRAYS[case])
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)
    (tmp_path / "y.npz").write_bytes(NO_ARRAYS[case])
    with pytest.raises(InputError):
        READERS[reader](tmp_path / "y.npz")
