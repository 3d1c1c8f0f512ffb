"""Plain values with one of their nodes replaced, for the tests of what reads JSON."""

import copy
from collections.abc import Iterator
from typing import Any

OTHERS: tuple[Any, ...] = (None, 3, -1, 10**400, float("nan"), "x", [], [None], {"a": 1})
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
        for other in OTHERS:
            changed: Any = {"": copy.deepcopy(value)}
            node = changed
            for key in ("", *place)[:-1]:
                node = node[key]
            node[("", *place)[-1]] = other
            yield f"{'/'.join(map(str, place))} = {str(other)[:20]}", changed[""]
