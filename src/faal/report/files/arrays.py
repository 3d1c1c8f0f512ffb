"""Read the arrays of an audit, `verdicts.npz` and `examples.npz`, and compares its accuracies with the verdicts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.bounds.archives import read_npz
from faal.errors import InputError
from faal.recorded import check_confusion, check_counts
from faal.report.files.run import AuditRecord, ExampleImages, VerdictArrays
from faal.report.files.text import clean_text

CORRECT, PREDICTED, GROUP = "_correct", "_predicted", "_group"
"""Suffixes of the names in `verdicts.npz`, after that of an attack or a grouping."""


def read_verdicts(path: Path) -> VerdictArrays | None:
    """Read `verdicts.npz`; None if there is none. Raises InputError if it is damaged."""
    arrays = _arrays(path)
    if arrays is None:
        return None
    try:
        label, index = arrays["label"].astype(np.int64), arrays["index"].astype(np.int64)
        correct = {name: array.astype(np.bool_) for name, array in _with_suffix(arrays, CORRECT).items()}
        predicted, groups = (
            {name: array.astype(np.int64) for name, array in _with_suffix(arrays, suffix).items()}
            for suffix in (PREDICTED, GROUP)
        )
    except (KeyError, ValueError, TypeError) as error:
        reason = f"has no array {error}" if isinstance(error, KeyError) else f"has an array of another type ({error})"
        raise InputError(f"{path} {reason}; audit again") from None
    arrays_of_samples = (label, index, *correct.values(), *predicted.values(), *groups.values())
    if label.ndim != 1 or len({array.shape for array in arrays_of_samples}) > 1:
        raise InputError(f"{path} has arrays of different lengths; audit again")
    return VerdictArrays(label=label, index=index, correct=correct, predicted=predicted, groups=groups)


def check_verdicts(audit: AuditRecord, verdicts: VerdictArrays, folder: Path) -> None:
    """Check that an audit's counts are those of its verdicts.

    Raises:
        InputError: they are not; the message names the attack and the class.
    """
    name = ""
    try:
        if audit.n != len(verdicts.label) or set(audit.attacks) != set(verdicts.correct):
            raise ValueError("they are of different samples or attacks")
        for name, attack in audit.attacks.items():
            correct = verdicts.correct[name]
            check_counts(attack.classes, verdicts.label, correct)
            if attack.confusion is not None and name in verdicts.predicted:
                check_confusion(attack.confusion.counts, verdicts.label, verdicts.predicted[name])
            for grouping, group_index in verdicts.groups.items():
                if grouping in audit.groups:
                    check_counts(audit.groups[grouping][name].classes, group_index, correct)
    except (ValueError, KeyError) as error:
        under = f"under {name}, " if name else ""
        raise InputError(
            f"audit.json and verdicts.npz in {folder} disagree ({under}{error}): one of them was changed or "
            "damaged, so audit again"
        ) from None


def read_examples(path: Path, num_classes: int) -> ExampleImages | None:
    """Read `examples.npz`; None if there is none. Raises InputError if it is damaged."""
    arrays = _arrays(path)
    if arrays is None:
        return None
    try:
        original, adversarial, attack = arrays["original"], arrays["adversarial"], arrays["attack"]
        label, predicted = arrays["label"].astype(np.int64), arrays["adversarial_predicted"].astype(np.int64)
        labels = np.concatenate([label, predicted])
    except (KeyError, ValueError, TypeError) as error:
        reason = f"has no array {error}" if isinstance(error, KeyError) else f"has an array of another type ({error})"
        raise InputError(f"{path} {reason}; audit again") from None
    if original.shape != adversarial.shape or len({a.shape[:1] for a in (original, label, predicted, attack)}) > 1:
        raise InputError(f"{path} has arrays of different lengths or shapes; audit again")
    if original.dtype != np.uint8 or adversarial.dtype != np.uint8 or original.ndim != 4:
        raise InputError(f"{path} has images that are not (K, channels, height, width) of uint8; audit again")
    if original.shape[1] not in (1, 3) or ((labels < 0) | (labels >= num_classes)).any():
        raise InputError(f"{path} has images of neither one nor three channels, or labels without a class; audit again")
    return ExampleImages(
        original=original,
        adversarial=adversarial,
        label=label,
        predicted=predicted,
        attack=tuple(clean_text(str(name)) for name in attack),
    )


def _with_suffix(arrays: Mapping[str, NDArray[Any]], suffix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names have a suffix, by the rest of the name."""
    return {clean_text(name.removesuffix(suffix)): array for name, array in arrays.items() if name.endswith(suffix)}


def _arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays by name; None where there is no file."""
    if not path.is_file():
        return None
    try:
        return read_npz(path)
    except (PermissionError, InputError):
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as arrays ({error}); it is damaged, so audit again") from None
