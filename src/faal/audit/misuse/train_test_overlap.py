"""Checks for test images that also occur in the training data, or more than once in the test data."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faal.audit.blocks import Progress, Source, Subject, fetch_clamped
from faal.audit.checks import check_images
from faal.audit.judge import CleanVerdict
from faal.audit.misuse.file_digests import MIN_FILES, SIZE, FileDigests
from faal.audit.misuse.samples import CheckResult
from faal.audit.records.examples import as_bytes
from faal.data.images import InMemory, OnDisk
from faal.engine import processes
from faal.errors import InputError

CHUNK = 1024
"""Number of images hashed at a time."""

MAX_DUPLICATES = 0.01
"""The fraction of repeated test images above which there is a warning."""


def duplicates(clean: Mapping[int, CleanVerdict]) -> CheckResult:
    """Count the test images identical to an earlier one, by the hashes of the clean pass."""
    images = [
        verdict.images[offset : offset + 32]
        for verdict in clean.values()
        for offset in range(0, len(verdict.images), 32)
    ]
    count = len(images) - len(set(images))
    values = {"samples": len(images), "repeated": count}
    if count <= MAX_DUPLICATES * len(images):
        return CheckResult(values=values)
    return CheckResult(
        values=values,
        warning=f"{count} of {len(images)} test images are duplicates of others: they count several times, and "
        "the intervals treat them as independent; keep one of each and audit again.",
    )


def train_test_overlap(
    subject: Subject, train: Source, classes: Sequence[str], *, progress: Progress | None = None
) -> CheckResult:
    """Count the audited images that occur in the training data, including its hold-out.

    They are compared by a hash of their pixels in 256 levels: only identical images match. Both sets are read only
    once, the training images in shares by all processes; the hashes of many files are cached for the next audit
    (`file_digests`). No forward is needed.

    Raises:
        InputError: training images outside [0, 1].
    """
    rows_by_digest: dict[bytes, list[int]] = {}
    for index in torch.arange(len(subject.index)).split(CHUNK):
        for row, digest in zip(index.tolist(), _digests(subject.images, subject.index[index]), strict=True):
            rows_by_digest.setdefault(digest, []).append(row)

    cache = None
    if isinstance(train, OnDisk) and len(train) >= MIN_FILES:
        cache = FileDigests(train, partial(_digests, train))
    found: set[bytes] = set()
    chunks = torch.arange(len(train)).split(CHUNK)[processes.rank() :: processes.world_size()]
    for done, index in enumerate(chunks, start=1):
        try:
            found.update(rows_by_digest.keys() & set(_digests(train, index) if cache is None else cache.of(index)))
        except InputError as error:
            raise InputError(f"training images: {error}") from None
        if progress is not None:
            progress("leakage", done, len(chunks))
    if cache is not None:
        cache.keep()
    shared = set().union(*processes.gather_objects(found))

    rows = sorted(row for digest in shared for row in rows_by_digest[digest])
    per_class = np.bincount(subject.labels[rows].numpy(), minlength=len(classes))
    values = {
        "samples": len(subject.index),
        "training_images": len(train),
        "leaked": len(rows),
        "per_class": per_class.tolist(),
        "first": subject.index[rows[:10]].tolist(),
    }
    if not rows:
        return CheckResult(values=values)
    order = [c for c in np.argsort(-per_class, kind="stable") if per_class[c]]
    named = ", ".join(f"{classes[c]} ({per_class[c]})" for c in order[:5]) + (", ..." if len(order) > 5 else "")
    return CheckResult(
        values=values,
        warning=f"{len(rows)} of {len(subject.index)} test images occur identically in the training data (by "
        f"class: {named}; the first is number {values['first'][0]}): accuracy on images that a network was "
        "trained on does not estimate that on new ones; remove them from one of the two and audit again.",
    )


def _digests(images: Source, index: Tensor) -> Iterator[bytes]:
    """A hash of `SIZE` bytes of each of the images at `index`."""
    for image in _levels(images, index):
        yield hashlib.blake2b(image.tobytes(), digest_size=SIZE).digest()


def _levels(images: Source, index: Tensor) -> NDArray[np.uint8]:
    """The images at `index` in 256 levels, (B, channels, H, W)."""
    if isinstance(images, InMemory | OnDisk) and (stored := images.read(index)).dtype == torch.uint8:
        return stored.cpu().numpy()
    pixels, _ = fetch_clamped(images, index)
    check_images(pixels, index)
    return as_bytes(pixels)
