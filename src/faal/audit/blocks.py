"""The block: the unit of an audit's randomness, of its stored progress, and of its distribution over processes.

An audit divides its samples, in order, into blocks of a fixed size. All random numbers of block k follow from
`block_seed(seed, k)`. Finished blocks are stored in the run's folder with a digest of all their inputs, so that a
killed audit continues at the next block and does not reuse one of another model.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faal.audit.attacks.backend import REFERENCE, Engine
from faal.audit.attacks.protocol import Attack
from faal.audit.attacks.registry import CLEAN
from faal.audit.checks import IMAGES
from faal.audit.judge import AttackVerdict, CleanVerdict, judge_attack, judge_clean
from faal.audit.records.examples import Examples
from faal.audit.records.verdicts import read_arrays, write_arrays
from faal.config import Threat
from faal.data.checks import rounded_beyond
from faal.engine.memory import ChunkedForward, retry_on_oom
from faal.engine.seeds import derive_seed
from faal.errors import InputError
from faal.tensors import dense

Progress = Callable[[str, int, int], None]
"""Called with (attack, blocks done, total blocks), both of this process, after every block."""


class Source(Protocol):
    """A store of images: one of `faal.data`, or a user's object."""

    def __len__(self) -> int: ...

    def fetch(self, index: Tensor) -> Tensor:
        """(B,) int64 -> (B, channels, H, W) float32 in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model and the data of an audit, and the threat.

    Attributes:
        model: the network, in evaluation mode during the audit.
        images: the store of its images.
        labels: (N,) int64 on the CPU, of the samples to audit.
        index: (N,) int64 on the CPU, their positions in `images`.
        device: the model's device.
        threat: the ball that bounds attacks.
        seed: the audit's seed.
        block_size: samples per block; the last block may be shorter.
        key: the network's identity (`folder.network_key`).
        earlier_keys: keys of the same network in earlier versions of this program, whose blocks are valid too.
        engine: the backend that attacks run on.
    """

    model: ChunkedForward
    images: Source
    labels: Tensor
    index: Tensor
    device: torch.device
    threat: Threat
    seed: int
    block_size: int
    key: str
    earlier_keys: tuple[str, ...] = ()
    engine: Engine = REFERENCE

    def blocks(self, rank: int = 0, world_size: int = 1) -> range:
        """The numbers of the blocks of process `rank` of `world_size`: every `world_size`-th."""
        return range(rank, -(-len(self.labels) // self.block_size), world_size)

    def rows(self, block: int) -> slice:
        """The samples of a block, as a slice."""
        return slice(block * self.block_size, (block + 1) * self.block_size)

    def fetch(self, block: int) -> Tensor:
        """The images of a block, (B, channels, H, W), on the model's device."""
        return self.fetch_clamped(block)[0]

    def fetch_clamped(self, block: int) -> tuple[Tensor, float]:
        """The same, and how far they were outside [0, 1] by rounding; they are clamped."""
        images, beyond = fetch_clamped(self.images, self.index[self.rows(block)])
        return images.to(self.device), beyond


def fetch_clamped(source: Source, index: Tensor) -> tuple[Tensor, float]:
    """A store's images (B, channels, H, W) at `index` (B,), clamped, and how far they were outside [0, 1] by rounding.

    A store may return tensors of inference mode, which no gradient can be taken at.
    """
    images = dense("a fetched batch", source.fetch(index), IMAGES, floats=True)
    beyond = rounded_beyond(images)
    return (images.clamp(0, 1) if beyond else images.clone() if images.is_inference() else images), beyond


def block_seed(seed: int, block: int) -> int:
    """The seed of a block, for random starts and for AutoAttack."""
    return derive_seed(seed, block)


def clean_blocks(
    subject: Subject,
    num_classes: int | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    progress: Progress | None = None,
) -> dict[int, CleanVerdict]:
    """Clean verdicts by block number, for this process's blocks.

    They are always computed: with these predictions a stored block is identified as that of the same network.
    """
    blocks = subject.blocks(rank, world_size)
    found: dict[int, CleanVerdict] = {}
    for done, block in enumerate(blocks, start=1):
        index = subject.index[subject.rows(block)]
        images, beyond = subject.fetch_clamped(block)
        verdict = retry_on_oom(partial(judge_clean, subject.model, images, index, num_classes), subject.model)
        found[block] = replace(verdict, beyond=beyond)
        if progress is not None:
            progress(CLEAN, done, len(blocks))
    return found


def attack_blocks(
    subject: Subject,
    attack: Attack,
    clean: Mapping[int, CleanVerdict],
    *,
    folder: Path | None = None,
    rank: int = 0,
    world_size: int = 1,
    progress: Progress | None = None,
) -> dict[int, AttackVerdict]:
    """An attack's verdicts by block number, for this process's blocks.

    Args:
        subject: model, data and threat.
        attack: the attack.
        clean: the clean verdicts of the same blocks.
        folder: the folder of finished blocks, which are reused; None to store none.
        rank: this process's number.
        world_size: the number of processes.
        progress: called for every finished block.
    """
    blocks = subject.blocks(rank, world_size)
    found: dict[int, AttackVerdict] = {}
    for done, block in enumerate(blocks, start=1):
        verdict = _stored(folder, subject, attack, block, clean[block]) if folder else None
        if verdict is None:
            rows = subject.rows(block)
            judge = partial(
                judge_attack,
                subject.model,
                subject.fetch(block),
                subject.labels[rows].to(subject.device),
                subject.index[rows],
                clean[block],
                attack,
                threat=subject.threat,
                seed=block_seed(subject.seed, block),
                fast=subject.engine.fast,
            )
            verdict = retry_on_oom(judge, subject.model, subject.engine.fast)
            if folder:
                digest = _digest(subject, attack, block, clean[block], subject.key)
                _write(_path(folder, attack, block, digest), digest, verdict)
        found[block] = verdict
        if progress is not None:
            progress(attack.name, done, len(blocks))
    return found


def holds(folder: Path, subject: Subject, attack: Attack, clean: Mapping[int, CleanVerdict]) -> bool:
    """Whether all of an attack's blocks are stored in `folder`, so that none is computed again."""
    return all(_stored(folder, subject, attack, block, verdict) is not None for block, verdict in clean.items())


def stored_blocks_text(
    folder: Path, subject: Subject, attacks: Sequence[Attack], clean: Mapping[int, CleanVerdict]
) -> str:
    """The message on the number of stored blocks in `folder`, when a signal stops the audit."""
    digests = ((attack, block, _digest(subject, attack, block, clean[block], subject.key))
               for attack in attacks for block in clean)  # fmt: skip
    stored = sum(_path(folder, *each).exists() for each in digests)
    return f"{stored} of {len(attacks) * len(clean)} blocks are saved"


# --- on disk ---------------------------------------------------------------------------------------------------------


def _path(folder: Path, attack: Attack, block: int, digest: str) -> Path:
    """The path of a block; a part of the digest in its name distinguishes blocks of two audits."""
    return folder / f"{attack.name}-{block:05d}-{digest[:8]}.npz"


def _stored(folder: Path, subject: Subject, attack: Attack, block: int, clean: CleanVerdict) -> AttackVerdict | None:
    """A finished block with the current key or an earlier one, which is then also stored with the current key."""
    digest, *others = (_digest(subject, attack, block, clean, key) for key in (subject.key, *subject.earlier_keys))
    path = _path(folder, attack, block, digest)
    verdict = _read(path, digest)
    for earlier in others if verdict is None else ():
        verdict = _read(_path(folder, attack, block, earlier), earlier)
        if verdict is not None:
            _write(path, digest, verdict)
            break
    return verdict


def _digest(subject: Subject, attack: Attack, block: int, clean: CleanVerdict, key: str) -> str:
    """A digest of all inputs of a verdict, with clean predictions, since weights alone do not determine a network."""
    rows = subject.rows(block)
    parts = {
        "format": 1,
        "model": key,
        "images": clean.digest,
        "clean": clean.predicted.tolist(),
        "labels": subject.labels[rows].tolist(),
        "index": subject.index[rows].tolist(),
        **asdict(subject.threat),
        "seed": block_seed(subject.seed, block),
        "attack": attack.name,
        "parameters": attack.parameters(threat=subject.threat, num_classes=clean.num_classes),
    }
    if subject.engine.fast:  # in float32 a block is the same under either engine
        parts["engine"] = subject.engine.form
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(path: Path, digest: str, verdict: AttackVerdict) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "digest": np.array(digest),
        "predicted": verdict.predicted,
        "seconds": np.array(verdict.seconds),
        "warnings": np.array(verdict.warnings, dtype=np.str_),
    }
    write_arrays(path, arrays | {f"example_{name}": array for name, array in verdict.examples.arrays().items()})


def _read(path: Path, digest: str) -> AttackVerdict | None:
    """A finished block; None if there is none, or it is damaged or of another audit."""
    try:
        arrays = read_arrays(path)
        if str(arrays["digest"]) != digest:
            return None
        examples = {name.removeprefix("example_"): a for name, a in arrays.items() if name.startswith("example_")}
        return AttackVerdict(
            predicted=arrays["predicted"],
            seconds=float(arrays["seconds"]),
            warnings=tuple(arrays["warnings"].tolist()),
            examples=Examples(**examples),
        )
    except (InputError, KeyError, TypeError, ValueError):
        return None
