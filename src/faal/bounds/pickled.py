"""The size of the objects in a pickle, computed from its instructions before any of them is executed.

A pickle may use an object any number of times. A tuple of the same tuple twice, sixty times over, takes a few hundred
bytes, and its hash, as a key of a dict, 2^60 steps; a tuple within a tuple, a million deep, overflows the stack.
"""

import pickletools
from graphlib import CycleError, TopologicalSorter
from typing import IO, Any

MAX_INSTRUCTIONS = 5_000_000
"""Instructions of a pickle. CIFAR-100's training part has about 500,000, a checkpoint 50 for each tensor."""

MAX_CONTAINERS = 500_000
"""Objects of it that contain others; a checkpoint has five for each tensor."""

MAX_OBJECTS = 10_000_000
"""Objects within one object, each counted as often as it is used."""

MAX_DEPTH = 100
"""How deep objects may be nested; a checkpoint has about ten levels."""

MUTATING = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
"""Opcodes that add to their first operand."""

PUT, GET = (frozenset({word, f"BIN{word}", f"LONG_BIN{word}"}) for word in ("PUT", "GET"))
"""Opcodes that store the top of the stack in the memo, and that push an entry of the memo."""

EMPTY = frozenset({"EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "EMPTY_TUPLE"})

SIMPLE = frozenset(
    each.name
    for each in pickletools.opcodes
    if not each.stack_before and each.stack_after and each.name not in GET | EMPTY | {"MARK"}
)
"""Opcodes that push an object that is not a container."""

_Object = list["_Object | None"] | None
"""A container as the list of its elements; None for any other object, such as a number."""

_MARK, _SLICE = pickletools.markobject, pickletools.stackslice


class BoundError(ValueError):
    """A pickle has more, or larger, objects than are allowed; the message is appended to the name of the file."""


def check_pickle(file: IO[bytes]) -> None:
    """Read one pickle, up to and including its last opcode, and check its bounds. Nothing is built or executed.

    Raises:
        BoundError: its objects exceed a bound, which the message names.
        ValueError: it is not a complete pickle.
    """
    try:
        objects = _objects(file)
    except (LookupError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise ValueError(f"it is not a valid pickle ({type(error).__name__})") from None
    indices = {id(each): index for index, each in enumerate(objects)}
    parts = {index: [indices[id(part)] for part in each if part is not None] for index, each in enumerate(objects)}
    sizes, depths = [0] * len(objects), [0] * len(objects)
    try:
        for index in TopologicalSorter(parts).static_order():
            sizes[index] = 1 + len(objects[index]) + sum(sizes[part] for part in parts[index])
            depths[index] = 1 + max((depths[part] for part in parts[index]), default=0)
            if sizes[index] > MAX_OBJECTS:
                raise BoundError(f"an object in it expands to more than {MAX_OBJECTS:,}")
            if depths[index] > MAX_DEPTH:
                raise BoundError(f"its objects are nested deeper than {MAX_DEPTH} levels")
    except CycleError:
        raise BoundError("an object in it contains itself") from None


def _objects(file: IO[bytes]) -> list[list[_Object]]:
    """All objects that contain others, by the instructions' effect on the stack (PEP 307, `pickletools`)."""
    found: list[list[_Object]] = []
    stack: list[_Object] = []
    marks: list[int] = []
    memo: dict[int, _Object] = {}
    for number, (instruction, value, _) in enumerate(pickletools.genops(file)):
        argument: Any = value
        name, before = instruction.name, instruction.stack_before
        memo_index: Any = argument
        if name in SIMPLE:
            stack.append(None)
        elif name in PUT:
            if memo_index > number:  # readers allocate as many memo entries
                raise BoundError(f"its memo index {argument:,} is larger than its {number:,} opcodes")
            memo[memo_index] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in GET:
            stack.append(memo[memo_index])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
        else:
            start = (marks.pop() - before.index(_MARK)) if _MARK in before else len(stack) - len(before)
            if start < 0:
                raise ValueError("it pops more objects than the stack holds")
            operands = stack[start:]
            del stack[start:]
            if name in MUTATING:
                target = operands[0]
                if target is None:
                    raise ValueError("it appends to an object that is not a container")
                target.extend(operands[1:])
                stack.append(target)
            elif instruction.stack_after:
                found.append(operands)
                stack.append(operands)
                if len(found) > MAX_CONTAINERS:
                    raise BoundError(f"it has more than {MAX_CONTAINERS:,} objects that contain others")
        if number == MAX_INSTRUCTIONS:
            raise BoundError(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
    return found
