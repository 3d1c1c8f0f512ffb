"""Pickles of plain data are read, and none of them can do anything."""

import codecs
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faal.data.readers.plain_pickle import load_plain
from faal.errors import InputError


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4"])
@pytest.mark.parametrize("writable", [True, False])
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int, order: Any, dtype: str, writable: bool) -> None:
    array = np.asarray(np.arange(24).reshape(4, 6), dtype=dtype, order=order)
    array.flags.writeable = writable
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({b"data": array, "labels": [1, 2], b"names": [b"\xe9", "cat"]}, protocol=protocol))
    content = load_plain(path)
    assert set(content) == {"data", "labels", "names"}
    np.testing.assert_array_equal(content["data"], array)
    assert content["labels"] == [1, 2]
    assert content["names"] == [b"\xe9", "cat"]


def test_what_python_2_wrote(tmp_path: Path) -> None:
    # As the official files: protocol 2, Python 2's str for keys and for an array's memory, the old name of numpy.core.
    program = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x06\x01\x02\x03\xfd\xfe\xfftbU\x06labels](K\x07K\x08eu."
    )
    path = tmp_path / "file"
    path.write_bytes(program)
    content = load_plain(path)
    np.testing.assert_array_equal(content["data"], np.array([[1, 2, 3], [253, 254, 255]], dtype=np.uint8))
    assert content["labels"] == [7, 8]


class Runs:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def evil(path: Path, marker: Path) -> list[tuple[str, Any]]:
    return [
        ("system", Runs(os.system, f"touch {marker}")),
        ("eval", Runs(eval, f"open({str(marker)!r}, 'w')")),
        ("getattr", Runs(getattr, "text", "join")),
        ("pathlib", marker),
        ("the encoding 'rot13'", Runs(codecs.encode, "abc", "rot13")),
        ("an array of 'O8'", np.array([{}], dtype=object)),
        ("an array of 'f8'", np.zeros(3)),
    ]


@pytest.mark.parametrize("case", range(7))
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_run(tmp_path: Path, case: int, protocol: int) -> None:
    marker, path = tmp_path / "marker", tmp_path / "file"
    name, payload = evil(path, marker)[case]
    path.write_bytes(pickle.dumps({b"data": payload}, protocol=protocol))
    with pytest.raises(InputError) as caught:
        load_plain(path)
    assert f"{path} is a pickle that names " in str(caught.value)
    assert name in str(caught.value).partition(" names ")[2]
    assert "nothing was run" in str(caught.value)
    assert not marker.exists()


def test_the_evil_pickle_would_have_run(tmp_path: Path) -> None:
    """That the test above can fail: Python's own reader does run it."""
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps({b"data": evil(tmp_path, marker)[0][1]}))
    assert marker.exists()


def test_truncated_at_any_place(tmp_path: Path) -> None:
    whole = pickle.dumps({b"data": np.zeros((2, 3), dtype=np.uint8), b"labels": [0, 1]}, protocol=2)
    path = tmp_path / "file"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="truncated"):
            load_plain(path)


@pytest.mark.parametrize("content", [b"", b"hello, world", pickle.dumps([1, 2]), pickle.dumps(3)])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated"):
        load_plain(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*gone"):
        load_plain(tmp_path / "gone")
