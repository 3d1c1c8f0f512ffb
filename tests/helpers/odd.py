"""Values of many types, most of which an argument cannot be, for the checks of what callers pass."""

import copy
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from faal.errors import InputError

ODD: dict[str, Any] = {
    "None": None,
    "True": True,
    "a text": "abc",
    "an empty text": "",
    "bytes": b"x",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "-1": -1,
    "-0.5": -0.5,
    "0": 0,
    "2.5": 2.5,
    "a large number": 10**30,
    "a number of 5000 digits": 10**5000,
    "a complex number": 1j,
    "a list": [1, 2],
    "an empty list": [],
    "a list of None": [None],
    "a list of texts": ["a"],
    "a dict": {"a": 1},
    "a set": {1},
    "an object": object(),
    "a type": int,
    "a function": len,
    "a range": range(3),
    "a Decimal": Decimal("0.5"),
    "a Fraction": Fraction(1, 2),
    "a path": Path("x"),
    "a module": nn.Linear(2, 2),
    "a tensor": torch.tensor([0.2, 0.5, 0.3]),
    "a tensor of one number": torch.tensor(0.5),
    "a whole number as a tensor": torch.tensor(1),
    "an empty tensor": torch.empty(0),
    "complex tensors": torch.rand(3, dtype=torch.complex64),
    "bool tensors": torch.tensor([True, False, True]),
    "a tensor without values": torch.empty(3, device="meta"),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a quantised tensor": torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8),
    "a nested tensor": torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
    "a tensor with NaN": torch.tensor([1.0, float("nan"), 2.0]),
    "a tensor with infinity": torch.tensor([1.0, float("inf"), 2.0]),
    "a tensor below 0": torch.tensor([1.0, -1.0, 1.0]),
    "an array": np.zeros(3),
    "an array of texts": np.array(["a", "b", "c"]),
    "an array of objects": np.array([None, {}, 1], dtype=object),
    "NumPy's whole number": np.int64(2),
    "NumPy's number": np.float32(0.5),
    "control characters": "\x1b[2J\a",
    "a null character": "a\0b",
    "a lone surrogate": "\ud800",
}


def refusals(call: Any) -> set[str]:
    """The odd values that a call refuses. An error of any other kind than InputError fails the test."""
    refused = set()
    for name, value in ODD.items():
        try:
            call(value)
        except InputError as error:
            assert "\n" not in str(error), name  # noqa: PT017
            refused.add(name)
        except Exception as error:
            pytest.fail(f"{name}: {type(error).__name__}: {error}")
    return refused


SCALARS = {
    "0", "2.5", "a Fraction", "NumPy's number", "NumPy's whole number", "a tensor of one number",
    "a whole number as a tensor",
}  # fmt: skip
"""Finite numbers of at least 0."""


OTHER_KINDS: tuple[Any, ...] = (None, 3, -1, 10**400, float("nan"), "x", [], [None], {"a": 1})
"""Of every kind that JSON has; some node expects each."""


def places(value: Any, alike: frozenset[str] = frozenset(), name: str = "") -> Iterator[tuple[Any, ...]]:
    """The paths of a plain value's nodes, itself the empty one. Of a list, and of a dict whose name is one of `alike`,
    the first entry is representative of all."""
    yield ()
    if isinstance(value, dict):
        for key in list(value)[: 1 if name in alike else None]:
            yield from ((key, *place) for place in places(value[key], alike, key))
    elif isinstance(value, list) and value:
        yield from ((0, *place) for place in places(value[0], alike))


def replaced(value: Any, alike: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Copies of a plain value with one node replaced by another kind of value, each with its description."""
    for place in places(value, alike):
        for other in OTHER_KINDS:
            changed: Any = {"": copy.deepcopy(value)}
            node = changed
            for key in ("", *place)[:-1]:
                node = node[key]
            node[("", *place)[-1]] = other
            yield f"{'/'.join(map(str, place))} = {str(other)[:20]}", changed[""]
