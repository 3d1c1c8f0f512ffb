"""Verdicts: the network's prediction for every sample under every attack. They are stored in `verdicts.npz`."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.bounds.archives import read_npz
from faal.checkpoint import write_atomically
from faal.checksums import append_checksum
from faal.errors import InputError, first_line

ALL = "all"
"""The pseudo-attack: correct under every attack that ran, and without attack."""

_SUFFIX, _GROUP = "_predicted", "_group"


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdicts:
    """Predicted classes of every sample, in the data's order.

    `label` (N,) int64; `index` (N,) int64, the samples' indices in the data; `predicted` attack -> (N,) int16: the
    prediction for the confirmed adversarial example, or for the clean image if the attack found none. `groups` name
    of a grouping -> (N,) int64, each sample's group as an index; empty when read from an audit of an earlier version.
    """

    label: NDArray[np.int64]
    index: NDArray[np.int64]
    predicted: Mapping[str, NDArray[np.int16]]
    groups: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def correct(self, attack: str) -> NDArray[np.bool_]:
        """(N,) bool: whether each sample is predicted correctly."""
        return np.equal(self.predicted[attack], self.label)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as they are stored."""
        found: dict[str, NDArray[Any]] = {"label": self.label, "index": self.index}
        for attack, predicted in self.predicted.items():
            found[f"{attack}_correct"] = self.correct(attack)
            found[f"{attack}{_SUFFIX}"] = predicted
        return {**found, **{f"{name}{_GROUP}": indices for name, indices in self.groups.items()}}

    @classmethod
    def read(cls, path: Path) -> "Verdicts":
        """Read `verdicts.npz`.

        Raises:
            InputError: the file is missing or incomplete.
        """
        arrays = read_arrays(path)
        try:
            label, index = arrays["label"], arrays["index"]
        except KeyError as error:
            raise InputError(f"{path} contains no {error}: it is not a file of verdicts; run the audit again") from None
        predicted, groups = (
            {name.removesuffix(suffix): array for name, array in arrays.items() if name.endswith(suffix)}
            for suffix in (_SUFFIX, _GROUP)
        )
        all_arrays = (label, index, *predicted.values(), *groups.values())
        if any(array.shape != label.shape for array in all_arrays):
            raise InputError(f"the arrays of {path} differ in length; run the audit again")
        if label.ndim != 1 or any(array.dtype.kind != "i" for array in all_arrays):
            raise InputError(f"the arrays of {path} are not lists of whole numbers; run the audit again")
        return cls(label=label, index=index, predicted=predicted, groups=groups)


def with_all(label: NDArray[np.int64], predicted: Mapping[str, NDArray[np.int16]]) -> dict[str, NDArray[np.int16]]:
    """`predicted` and the pseudo-attack `all`: the prediction under the first attack that succeeds on the sample."""
    combined = label.astype(np.int16)
    for classes in reversed(list(predicted.values())):
        combined = np.where(classes != label, classes, combined)
    return {**predicted, ALL: combined}


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an `.npz` file atomically, with a checksum."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    append_checksum(buffer)
    write_atomically(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file; nothing in it can run code.

    Raises:
        InputError: the file is missing, truncated, damaged, or does not contain plain arrays.
    """
    try:
        return read_npz(path)
    except FileNotFoundError:
        raise InputError(f"there is no {path}; it is written by an audit") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is truncated or damaged ({first_line(error)}); run the audit again") from None
