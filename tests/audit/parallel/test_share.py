"""An audit divided among processes that have a folder in common and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faal.audit import audit, audit_share
from faal.audit import blocks as audit_blocks
from faal.audit import prepare as audit_prepare
from faal.errors import InputError

QUICK: dict[str, Any] = {"attacks": "pgd5,cw5", "epsilon": 0.15, "block_size": 16, "seed": 3}


@pytest.mark.parametrize("world_size", [2, 3])
def test_shares_put_together_are_the_audit(
    world_size: int, problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = audit(problem.net, problem.images, problem.labels, **QUICK)
    for rank in range(world_size):
        audit_share(
            problem.net, problem.images, problem.labels, rank=rank, world_size=world_size, out=tmp_path, **QUICK
        )

    def judged_again(*_: object, **__: object) -> None:
        raise AssertionError("a finished block was attacked again")

    monkeypatch.setattr(audit_blocks, "judge_attack", judged_again)
    together = audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    assert alone.attacks.keys() == together.attacks.keys()
    for name in alone.attacks:
        assert np.array_equal(alone.verdicts.predicted[name], together.verdicts.predicted[name])


def test_a_share_computes_its_own_blocks_only(problem: Any, tmp_path: Path) -> None:
    audit_share(problem.net, problem.images, problem.labels, rank=1, world_size=2, out=tmp_path, **QUICK)
    kept = [path.name.rsplit("-", 1)[0] for path in sorted((tmp_path / "blocks").iterdir())]
    assert kept == ["cw5-00001", "cw5-00003", "pgd5-00001", "pgd5-00003"]


def test_a_share_of_another_audit_is_refused(problem: Any, tmp_path: Path) -> None:
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    other = {**QUICK, "epsilon": 0.2}
    with pytest.raises(InputError, match=r"epsilon 0\.15 there, 0\.2 here"):
        audit_share(problem.net, problem.images, problem.labels, rank=0, world_size=2, out=tmp_path, **other)


class Wrapped(nn.Module):
    """As DistributedDataParallel holds a network, without a group of processes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images)


def test_a_share_is_of_the_network_within_distributed_data_parallel(
    problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_prepare, "DistributedDataParallel", Wrapped)
    audit_share(Wrapped(problem.net), problem.images, problem.labels, rank=0, world_size=1, out=tmp_path, **QUICK)

    def judged_again(*_: object, **__: object) -> None:
        raise AssertionError("a finished block was attacked again")

    monkeypatch.setattr(audit_blocks, "judge_attack", judged_again)
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)


def test_a_share_of_clean_alone_needs_no_gradient(problem: Any, tmp_path: Path) -> None:
    class Cut(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            with torch.no_grad():
                return problem.net(images)

    settings = {**QUICK, "attacks": "clean", "rank": 0, "world_size": 1}
    audit_share(Cut(), problem.images, problem.labels, out=tmp_path, **settings)
    with pytest.raises(InputError, match="has no gradient"):
        audit_share(Cut(), problem.images, problem.labels, out=tmp_path, **{**settings, "attacks": "pgd5"})
