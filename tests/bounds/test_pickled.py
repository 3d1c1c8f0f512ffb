"""Pickles whose objects expand or nest without end are found before anything is built."""

import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from faal.bounds import pickled
from faal.bounds.pickled import check_pickle

START = b"\x80\x02}"


def used_twice(first: bytes, pair: str, times: int) -> bytes:
    """A chain of objects, each made of two uses of the one before it."""
    parts = [first]
    for number in range(times):
        put, get = b"q" + bytes([number]), b"h" + bytes([number])
        parts.append(put + {"tuple": get + b"\x86", "list": b"](" + get + get + b"e"}[pair])
    return b"".join(parts)


BEYOND = {
    "tuples": (START + used_twice(b"K\x01K\x01\x86", "tuple", 60) + b"K\x01s.", "expands to more"),
    "tuples without numbers": (START + b"K\x01" + b"2\x86" * 60 + b"K\x01s.", "expands to more"),
    "lists": (b"\x80\x02" + used_twice(b"]", "list", 60) + b".", "expands to more"),
    "lists that are filled later": (
        # x60 = [x59, x59] while x59 is empty, then x59 = [x58, x58], and so on.
        b"\x80\x02"
        + b"".join(b"]q" + bytes([n]) for n in range(61))
        + b"".join(b"0h" + bytes([n + 1]) + b"(h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in reversed(range(60)))
        + b".",
        "expands to more",
    ),
    "a deep key": (START + b")" + b"\x85" * 5000 + b"K\x01s.", "nested deeper"),
    "a deep dict": (b"\x80\x02" + b"}K\x01" * 5000 + b"K\x01" + b"s" * 5000 + b".", "nested deeper"),
    "a list in itself": (b"\x80\x02]q\x00h\x00a.", "contains itself"),
    "a large number of an object": (START + b"r\xff\xff\xff\x7f.", "memo index"),
    "an object of many digits": (b"I" + b"9" * 5000 + b"\n.", "digits"),
    "a number that is not there": (b"\x80\x02h\x05.", "not a valid pickle"),
    "an empty stack": (b"\x80\x02\x86.", "more objects than the stack"),
    "no mark": (b"\x80\x02]e.", "not a valid pickle"),
    "a list added to a number": (b"\x80\x02K\x01K\x02a.", "appends to an object"),
    "no end": (b"\x80\x02]", "exhausted"),
    "no pickle": (b"hello, world", "not a valid pickle|opcode"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_is_refused(case: str) -> None:
    content, message = BEYOND[case]
    with pytest.raises(ValueError, match=message):
        check_pickle(io.BytesIO(content))


@pytest.mark.parametrize("bound", ["MAX_INSTRUCTIONS", "MAX_CONTAINERS", "MAX_OBJECTS"])
def test_bounds_on_numbers(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps([[number] for number in range(30)])
    check_pickle(io.BytesIO(content))
    monkeypatch.setattr(pickled, bound, 20)
    with pytest.raises(ValueError, match="more than 20"):
        check_pickle(io.BytesIO(content))


class Plain:
    def __init__(self) -> None:
        self.parts = {"a": (1, 2, {3}), "b": frozenset({4}), "c": [self.__class__, b"x", 1.5, None, True]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_ordinary_pickles_pass_whole(protocol: int) -> None:
    """Several in one file are read one by one, and nothing beyond the last instruction is."""
    shared = ["x"] * 3
    contents: list[Any] = [
        {b"data": np.zeros((4, 3072), np.uint8), b"labels": list(range(4)), b"names": [b"a", "b"]},
        OrderedDict(a=shared, b=shared),
        Plain(),
        2**100,
    ]
    file = io.BytesIO(b"".join(pickle.dumps(content, protocol=protocol) for content in contents) + b"rest")
    for _ in contents:
        check_pickle(file)
    assert file.read() == b"rest"


def test_a_checkpoint_with_its_optimizer_passes() -> None:
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(50)])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    file = io.BytesIO()
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "log": [{"loss": 0.5}] * 1000}
    torch.save(state, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    for _ in range(5):
        check_pickle(file)
