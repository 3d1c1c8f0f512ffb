"""What a network has seen, and all networks that it came from: whether images that judge it are new to it.

A run's checkpoint says under `held_out` which parts of its training set it and its ancestors were never trained on; a
fine-tune's record of its base (`origin` in its checkpoint and in config.yaml), and a card of the zoo, hand this on.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def part_digest(data: str, index: Tensor) -> str:
    """What a withheld part is known by: the fingerprint of its training set, and which images of that it is.

    The same data has other parts where they are drawn by groups other than the classes.

    Args:
        data: the fingerprint.
        index: (N,) int64, sorted places in the training set.
    """
    return hashlib.sha256(data.encode() + index.cpu().numpy().astype("<i8").tobytes()).hexdigest()


def withheld_of(state: Mapping[str, Any]) -> list[str]:
    """The withheld parts (`part_digest`) that the network of a checkpoint, or of a card of the zoo, never saw."""
    told = state["held_out"] if "weights" in state and "held_out" in state else state
    found = told.get("withheld", ())
    return [str(digest) for digest in found]


def chosen_on_test(state: Mapping[str, Any]) -> bool:
    """Whether its epoch, or that of a network that it came from, was chosen on test images."""
    recipe, origin = state["recipe"], state.get("origin") or {}
    own = recipe.get("select_on") == "test" and recipe.get("select") != "last"
    return bool(own or origin.get("chosen_on_test"))


def inherited_provenance(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a fine-tune's record of the network says of this: `withheld` and `chosen_on_test`, where there is any."""
    found = {"withheld": withheld_of(state), "chosen_on_test": chosen_on_test(state)}
    return {name: value for name, value in found.items() if value}
