import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.subjects import subject_of
from torch import Tensor, nn

from faal.audit.attacks import backend
from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.protocol import AttackedBlock
from faal.audit.blocks import Subject, attack_blocks, block_seed, clean_blocks, holds
from faal.config import Threat
from faal.data.images import InMemory


@dataclass(frozen=True)
class Noted(GradientAttack):
    """PGD that records the seeds of its blocks, and whose parameters lack epsilon."""

    seeds: list[int] = field(default_factory=list)

    def parameters(self, **_: Any) -> dict[str, Any]:
        return {}

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        self.seeds.append(block.seed)
        return super().run(model, block, warn)


@pytest.fixture
def attack() -> Noted:
    return Noted("pgd5", loss="ce", steps=5)


@pytest.fixture
def subject(problem) -> Subject:  # type: ignore[no-untyped-def]
    """60 samples in blocks of 16: the last has 12."""
    return subject_of(problem.net, problem.images, problem.labels)


def predictions(found: dict[int, Any]) -> list[int]:
    return np.concatenate([found[block].predicted for block in sorted(found)]).tolist()


def test_blocks_and_shares(subject: Subject) -> None:
    assert list(subject.blocks()) == [0, 1, 2, 3]
    assert [list(subject.blocks(rank, 3)) for rank in range(3)] == [[0, 3], [1], [2]]
    assert list(subject.blocks(5, 6)) == []
    assert [len(subject.fetch(block)) for block in subject.blocks()] == [16, 16, 16, 12]
    assert len({block_seed(seed, block) for seed in range(5) for block in range(50)}) == 250
    assert block_seed(0, 0) == block_seed(0, 0) >= 0


def test_each_block_draws_from_its_own_seed(subject: Subject, attack: Noted) -> None:
    attack_blocks(subject, attack, clean_blocks(subject))
    assert attack.seeds == [block_seed(7, block) for block in range(4)]


def test_several_processes_have_the_verdicts_of_one(subject: Subject, attack: Noted) -> None:
    full = attack_blocks(subject, attack, clean_blocks(subject))
    shares: dict[int, Any] = {}
    for rank in range(3):
        clean = clean_blocks(subject, rank=rank, world_size=3)
        shares |= attack_blocks(subject, attack, clean, rank=rank, world_size=3)
    assert predictions(shares) == predictions(full)
    assert [shares[b].examples.index.tolist() for b in range(4)] == [full[b].examples.index.tolist() for b in range(4)]


def test_progress_counts_this_processes_blocks(subject: Subject, attack: Noted) -> None:
    events: list[tuple[str, int, int]] = []

    def progress(*event: Any) -> None:
        events.append(event)

    clean = clean_blocks(subject, rank=0, world_size=3, progress=progress)
    attack_blocks(subject, attack, clean, rank=0, world_size=3, progress=progress)
    assert events == [("clean", 1, 2), ("clean", 2, 2), ("pgd5", 1, 2), ("pgd5", 2, 2)]


class KilledError(Exception):
    pass


def test_a_killed_audit_continues_at_the_next_block(subject: Subject, attack: Noted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    clean = clean_blocks(subject)
    full = attack_blocks(subject, attack, clean)
    attack.seeds.clear()

    def kill(name: str, done: int, total: int) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError):
        attack_blocks(subject, attack, clean, folder=tmp_path, progress=kill)
    assert [path.name[:11] for path in sorted(tmp_path.iterdir())] == ["pgd5-00000-", "pgd5-00001-"]
    found = attack_blocks(subject, attack, clean, folder=tmp_path)
    assert attack.seeds == [block_seed(7, block) for block in range(4)]
    assert predictions(found) == predictions(full)
    for block in range(4):
        for name, array in full[block].examples.arrays().items():
            assert np.array_equal(found[block].examples.arrays()[name], array)
    attack_blocks(subject, attack, clean, folder=tmp_path)
    assert len(attack.seeds) == 4


def test_blocks_of_several_processes_are_taken_up_by_one(subject: Subject, attack: Noted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    clean = clean_blocks(subject)
    for rank in range(2):
        attack_blocks(subject, attack, clean, folder=tmp_path, rank=rank, world_size=2)
    assert len(attack.seeds) == 4
    found = attack_blocks(subject, attack, clean, folder=tmp_path)
    assert len(attack.seeds) == 4
    assert predictions(found) == predictions(attack_blocks(subject, attack, clean))


CHANGES = {
    "other weights": {"key": "other net"},
    "epsilon": {"threat": Threat(epsilon=0.16)},
    "norm": {"threat": Threat("l2", 0.15)},
    "seed": {"seed": 8},
    "order of the samples": {"index": torch.arange(60).flip(0), "labels": (torch.arange(60) % 5).flip(0)},
    "labels": {"labels": (torch.arange(60) + 1) % 5},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_block_of_another_audit_is_not_taken(subject: Subject, attack: Noted, tmp_path, change) -> None:  # type: ignore[no-untyped-def]
    attack_blocks(subject, attack, clean_blocks(subject), folder=tmp_path)
    other = replace(subject, **change)
    clean = clean_blocks(other)
    attack.seeds.clear()
    found = attack_blocks(other, attack, clean, folder=tmp_path)
    assert len(attack.seeds) == 4
    assert predictions(found) == predictions(attack_blocks(other, attack, clean))
    attack.seeds.clear()
    attack_blocks(subject, attack, clean_blocks(subject), folder=tmp_path)
    assert attack.seeds == []  # nor has it taken the place of the first


def test_nor_one_of_another_arithmetic(subject: Subject, attack: Noted, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Fast or not: in float32 a block is the same. In bfloat16 it is another."""
    clean = clean_blocks(subject)
    attack_blocks(subject, attack, clean, folder=tmp_path)
    for gains, again in ((False, 0), (True, 4)):
        monkeypatch.setattr(backend, "multiplies_bf16", lambda device, gains=gains: gains)
        monkeypatch.setattr(backend, "MIN_BF16_OPERATIONS", 0)
        fast = replace(subject, engine=backend.engine_for("fast", subject.model, subject.fetch(0)))
        assert (fast.engine.fast is not None) == gains
        attack.seeds.clear()
        attack_blocks(fast, attack, clean, folder=tmp_path)
        assert len(set(attack.seeds)) == again
        attack.seeds.clear()
        attack_blocks(fast, attack, clean, folder=tmp_path)
        assert attack.seeds == []
    attack_blocks(subject, attack, clean, folder=tmp_path)
    assert attack.seeds == []  # nor has it taken the place of the first


@pytest.mark.parametrize("other", ["images", "net"])
def test_nor_one_of_other_images_or_of_a_net_that_predicts_otherwise(  # type: ignore[no-untyped-def]
    subject: Subject, attack: Noted, tmp_path, other: str
) -> None:
    attack_blocks(subject, attack, clean_blocks(subject), folder=tmp_path)
    assert isinstance(subject.images, InMemory)
    if other == "images":
        changed = replace(subject, images=InMemory(subject.images.pixels * 0.999))
    else:  # the same weights and the same key, but an offset that is neither parameter nor buffer
        changed = replace(subject, model=Shifted(subject.model))
    attack.seeds.clear()
    attack_blocks(changed, attack, clean_blocks(changed), folder=tmp_path)
    assert len(attack.seeds) == 4


class Shifted(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images) + torch.tensor([9.0, 0, 0, 0, 0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", None])
def test_a_damaged_block_is_computed_again(subject: Subject, attack: Noted, tmp_path, damage: bytes | None) -> None:  # type: ignore[no-untyped-def]
    clean = clean_blocks(subject)
    full = attack_blocks(subject, attack, clean, folder=tmp_path)
    (path,) = tmp_path.glob("pgd5-00002-*.npz")
    assert holds(tmp_path, subject, attack, clean)
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    assert not holds(tmp_path, subject, attack, clean)
    attack.seeds.clear()
    assert predictions(attack_blocks(subject, attack, clean, folder=tmp_path)) == predictions(full)
    assert attack.seeds == [block_seed(7, 2)]


def test_a_flipped_bit_in_a_block_changes_no_verdict(subject: Subject, attack: Noted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    clean = clean_blocks(subject)
    full = attack_blocks(subject, attack, clean, folder=tmp_path)
    (path,) = tmp_path.glob("pgd5-00002-*.npz")
    intact, rng = path.read_bytes(), random.Random(0)
    attack.seeds.clear()
    for _ in range(40):
        content = bytearray(intact)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        assert predictions(attack_blocks(subject, attack, clean, folder=tmp_path)) == predictions(full)
    assert len(attack.seeds) > 30
