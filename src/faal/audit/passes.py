"""All blocks of an audit, over all processes: the clean pass and the attacks, and their outcomes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from faal.audit.attacks.protocol import Attack
from faal.audit.attacks.registry import CLEAN
from faal.audit.blocks import Progress, Subject, attack_blocks, clean_blocks
from faal.audit.checks import check_labels
from faal.audit.judge import AttackVerdict, CleanVerdict, image_digests
from faal.audit.records.examples import Examples, select_examples
from faal.audit.statistics.intervals import exceeds
from faal.data.checks import clamped_note
from faal.engine import processes

V = TypeVar("V", CleanVerdict, AttackVerdict)

SQUARE = re.compile(r"Square Attack has decreased the robust accuracy of (\d+\.\d+)%")
"""pyautoattack's warning that its last attack found adversarial examples in a block."""

SQUARE_SHARE = 0.002
"""The fraction of samples for which Square may find adversarial examples in a model without masked gradients: above it
pyautoattack warns. It applies to a full test set, not to a block, where one sample of 250 is twice that."""


@dataclass(frozen=True, kw_only=True)
class AttackOutcomes:
    """The outcomes of an audit's attacks.

    Attributes:
        num_classes: width of the model's output.
        probabilities: whether all clean outputs are probabilities.
        predicted: attack -> (N,) int16, `clean` first.
        parameters: attack -> its settings, for the record.
        seconds: attack -> seconds, summed over the processes.
        warnings: sentences about signs of misuse from the attacks.
        examples: some adversarial examples; None if there are none.
    """

    num_classes: int
    probabilities: bool
    predicted: dict[str, NDArray[np.int16]]
    parameters: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    examples: Examples | None


def clean_pass(
    subject: Subject, num_classes: int | None, *, progress: Progress | None = None
) -> dict[int, CleanVerdict]:
    """The clean pass; every process returns the verdicts of all blocks.

    Args:
        subject: model, data and threat.
        num_classes: the required width of the model's output; None accepts any.
        progress: called for every finished block.

    Raises:
        InputError: invalid images, labels or outputs.
    """
    process_verdicts = clean_blocks(
        subject, num_classes, rank=processes.rank(), world_size=processes.world_size(), progress=progress
    )
    clean = _merged(processes.gather_objects(process_verdicts))
    check_labels(subject.labels, len(subject.index), clean[0].num_classes, subject.index)
    return clean


def fingerprint(labels: Tensor, clean: Mapping[int, CleanVerdict]) -> str:
    """SHA-256 over the labels (N,) and all images, in order, independent of the size of the blocks."""
    digest = hashlib.sha256(labels.numpy().astype("<i8").tobytes())
    for verdict in clean.values():
        digest.update(verdict.images)
    return digest.hexdigest()


def fingerprint_of(subject: Subject) -> str:
    """`fingerprint` before the clean pass, from the images themselves."""
    digest = hashlib.sha256(subject.labels.numpy().astype("<i8").tobytes())
    for block in subject.blocks():
        digest.update(image_digests(subject.fetch(block)))
    return digest.hexdigest()


def attack_passes(
    subject: Subject,
    attacks: Sequence[Attack],
    clean: Mapping[int, CleanVerdict],
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> AttackOutcomes:
    """Run an audit's attacks; every process returns the outcomes of all blocks.

    Args:
        subject: model, data and threat.
        attacks: the attacks, in order.
        clean: the verdicts of `clean_pass`.
        folder: the folder of finished blocks; None to store none.
        progress: called for every finished block.
    """
    share: dict[str, Any] = {"rank": processes.rank(), "world_size": processes.world_size(), "progress": progress}
    width = clean[0].num_classes

    parts: list[Examples] = []
    predicted, seconds, warnings = {CLEAN: _joined(clean)}, {CLEAN: _seconds(clean)}, _clean_warnings(clean)
    for attack in attacks:
        process_verdicts = attack_blocks(subject, attack, clean, folder=folder, **share)
        parts += [verdict.examples for verdict in process_verdicts.values()]
        verdicts = _merged(
            processes.gather_objects({block: verdict.without_examples() for block, verdict in process_verdicts.items()})
        )
        predicted[attack.name], seconds[attack.name] = _joined(verdicts), _seconds(verdicts)
        correct = {
            block: int((verdict.predicted == subject.labels[subject.rows(block)].numpy()).sum())
            for block, verdict in clean.items()
        }
        warnings += [
            *attack.caveats(num_classes=width),
            *_block_warnings(attack.name, verdicts),
            *_square(verdicts, correct),
        ]
    shown = [part for part in processes.gather_objects(select_examples(parts)) if part is not None]
    return AttackOutcomes(
        num_classes=width,
        probabilities=all(verdict.probabilities for verdict in clean.values()),
        predicted=predicted,
        parameters={CLEAN: {}} | {a.name: a.parameters(threat=subject.threat, num_classes=width) for a in attacks},
        seconds=seconds,
        warnings=tuple(warnings),
        examples=select_examples(shown),
    )


def _merged(shares: Sequence[Mapping[int, V]]) -> dict[int, V]:
    """The blocks of all processes, in order."""
    blocks = {block: verdict for share in shares for block, verdict in share.items()}
    return dict(sorted(blocks.items(), key=lambda item: item[0]))


def _joined(verdicts: Mapping[int, CleanVerdict] | Mapping[int, AttackVerdict]) -> NDArray[np.int16]:
    return np.concatenate([verdict.predicted for verdict in verdicts.values()])


def _seconds(verdicts: Mapping[int, CleanVerdict] | Mapping[int, AttackVerdict]) -> float:
    return sum(verdict.seconds for verdict in verdicts.values())


def _clean_warnings(clean: Mapping[int, CleanVerdict]) -> list[str]:
    """Sentences on images that were clamped, and on logits of another type than float32."""
    beyond = max((verdict.beyond for verdict in clean.values()), default=0.0)
    clamping = [clamped_note(beyond, "images")] if beyond else []
    dtypes = sorted({verdict.logits for verdict in clean.values()} - {"float32"})
    if not dtypes:
        return clamping
    ties, count = (sum(found) for found in zip(*((v.ties, len(v.predicted)) for v in clean.values()), strict=True))
    sentence = f"The model's logits are {' and '.join(dtypes)}, which attacks and verdicts convert to float32"
    if not ties:
        return [*clamping, f"{sentence}."]
    return [
        *clamping,
        f"{sentence}; at {ties} of {count} images the two largest are equal, and the class of the lower number "
        "is the prediction: make its forward compute and return float32, and audit again.",
    ]


def _block_warnings(attack: str, verdicts: Mapping[int, AttackVerdict]) -> list[str]:
    """The distinct warnings of the blocks; those that differ only in their numbers are equal."""
    first: dict[str, tuple[int, str]] = {}
    blocks: dict[str, set[int]] = {}
    for block, verdict in verdicts.items():
        for sentence in verdict.warnings:
            if SQUARE.match(sentence):
                continue
            kind = re.sub(r"\d+(\.\d+)?", "#", sentence)
            first.setdefault(kind, (block, sentence))
            blocks.setdefault(kind, set()).add(block)
    return [
        f"{attack}, in {len(blocks[kind])} of {len(verdicts)} blocks, first in block {block}: {sentence}"
        for kind, (block, sentence) in first.items()
    ]


def _square(verdicts: Mapping[int, AttackVerdict], correct: Mapping[int, int]) -> list[str]:
    """AutoAttack's check for masked gradients, over all blocks.

    A binomial test: a false alarm has a probability of at most `FALSE_ALARM` if Square's true fraction is at most
    `SQUARE_SHARE`.

    Args:
        verdicts: of the ensemble, by block.
        correct: block -> the number of samples predicted correctly without attack.
    """
    found = 0
    for block, verdict in verdicts.items():
        for sentence in verdict.warnings:
            if match := SQUARE.match(sentence):
                found += round(float(match[1]) / 100 * correct[block])
    total = sum(correct.values())
    if not exceeds(found, total, SQUARE_SHARE):
        return []
    return [
        f"The gradient-free Square attack found adversarial examples for {found} samples that were robust under "
        f"AutoAttack's gradient attacks, of {total} ({found / total:.1%}): gradients may be masked, and a stronger or "
        "adaptive attack may find more."
    ]
