"""Read pickles of plain data without running code.

A pickle is a program that may call any importable function. The official CIFAR files are pickles that use four
names: those that construct a NumPy array and a bytes object. Here these names are bound to functions of this module,
which only reinterpret bytes, and every other name is rejected.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from faal.bounds.pickled import check_pickle
from faal.errors import InputError, first_line

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


class _RefusedError(Exception):
    """The pickle uses a name that plain data do not need."""


class _DType:
    """Substitute for a pickled `numpy.dtype`: its code and byte order."""

    def __init__(self, code: str | bytes) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "|"
        if self.code not in DTYPES:
            raise _RefusedError(f"an array of {self.code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else order
        if self.order not in ("<", ">", "|", "="):
            raise _RefusedError(f"the byte order {self.order!r}")

    def view(self, raw: bytes, shape: tuple[int, ...], order: Any) -> np.ndarray:
        """The array whose memory is `raw`."""
        return np.frombuffer(raw, np.dtype(self.order + self.code)).reshape(shape, order=order)


class _Array:
    """Substitute for a pickled `numpy.ndarray`."""

    values: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.values = dtype.view(raw, shape, "F" if fortran else "C")


def _blank_array(*_: object) -> _Array:
    return _Array()


def _array_from_buffer(raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str, *_: object) -> _Array:
    array = _Array()
    array.values = dtype.view(raw, shape, order)
    return array


def _dtype(code: str | bytes, *_: object) -> _DType:
    return _DType(code)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"the encoding {encoding!r}")
    return text.encode("latin1")


SUBSTITUTES: dict[str, object] = {
    "numpy.core.multiarray._reconstruct": _blank_array,
    "numpy._core.multiarray._reconstruct": _blank_array,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
    "numpy._core.numeric._frombuffer": _array_from_buffer,
    "numpy.ndarray": None,  # only an argument of _reconstruct, which ignores it
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,  # how Python 3 writes bytes into the old protocols
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return SUBSTITUTES[f"{module}.{name}"]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


def load_plain(path: Path) -> dict[str, Any]:
    """The dict in a pickle of any protocol; keys as str from any version of Python, arrays as NumPy arrays.

    Nothing in the file is run.

    Raises:
        InputError: the file is missing, truncated, not such a pickle, or uses names other than those of integer arrays,
            bytes, text, numbers, lists and dicts.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; unpack the official download (python version) again")
    try:
        with path.open("rb") as file:
            check_pickle(file)
            file.seek(0)
            content = _Unpickler(file, encoding="bytes").load()
        texts = {_text(key): value for key, value in content.items() if isinstance(key, str | bytes)}
        return {key: value.values if isinstance(value, _Array) else value for key, value in texts.items()}
    except _RefusedError as error:
        raise InputError(
            f"{path} is a pickle that names {error}, which plain data do not need and which could run code; "
            "nothing was run: use the official download instead"
        ) from error
    except PermissionError:
        raise  # `load_data` makes it an InputError
    except Exception as error:  # a damaged pickle can fail in any instruction, with errors of any type
        raise InputError(
            f"{path} is truncated or not a CIFAR data file ({first_line(error)}); unpack the official download again"
        ) from error


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key
