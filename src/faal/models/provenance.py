"""Provenance: the images on which a network and its bases were neither trained nor selected.

A run's checkpoint records under `held_out` the parts of its training set that it and its bases were not trained on;
a fine-tune's record of its base (`origin` in its checkpoint and in config.yaml), and a card of the zoo, inherit this.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def part_digest(data: str, index: Tensor) -> str:
    """The identifier of a withheld part: SHA-256 of the fingerprint of its training set and of the part's indices.

    The parts differ where they are drawn by groups instead of classes.

    Args:
        data: the fingerprint.
        index: (N,) int64, sorted indices into the training set.
    """
    return hashlib.sha256(data.encode() + index.cpu().numpy().astype("<i8").tobytes()).hexdigest()


def withheld_of(state: Mapping[str, Any]) -> list[str]:
    """The withheld parts (`part_digest`) that the network of a checkpoint or of a card was not trained on."""
    record = state["held_out"] if "weights" in state and "held_out" in state else state
    entries = record.get("withheld", ())
    return [str(digest) for digest in entries]


def chosen_on_test(state: Mapping[str, Any]) -> bool:
    """Whether its epoch, or that of one of its bases, was chosen on test images."""
    recipe, origin = state["recipe"], state.get("origin") or {}
    chosen_here = recipe.get("select_on") == "test" and recipe.get("select") != "last"
    return bool(chosen_here or origin.get("chosen_on_test"))


def inherited_provenance(state: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a base, for the record of a fine-tune: `withheld` and `chosen_on_test`, where not empty."""
    entries = {"withheld": withheld_of(state), "chosen_on_test": chosen_on_test(state)}
    return {name: value for name, value in entries.items() if value}
