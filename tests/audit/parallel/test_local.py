"""An audit that one process of a group calls: alone on request, else refused soon, whatever the others do."""

import datetime
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import faal
from faal.engine import processes
from faal.errors import InputError

IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


def audited(**options: Any) -> dict[str, list[int]]:
    result = faal.audit(net(), IMAGES, LABELS, attacks="pgd2", epsilon=0.1, block_size=5, **options)
    return {name: each.tolist() for name, each in result.verdicts.predicted.items()}


def refused(call: Any) -> tuple[str, float]:
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value), time.monotonic() - began


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    timeout = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=timeout)
    found: dict[str, Any] = {}
    if rank == 0:
        found["local"] = audited(local=True)
        found["local offsets"] = faal.offsets(net(), IMAGES, LABELS, epsilon=0.1, attack="pgd2", local=True)
    dist.barrier()
    found["together"] = audited()
    processes.PATIENCE = 0.5
    if rank == 0:
        found["refused"] = refused(audited)
        found["offsets refused"] = refused(lambda: faal.offsets(net(), IMAGES, LABELS, epsilon=0.1, attack="pgd2"))
    dist.barrier()
    if rank == 1:  # long after the other has given up
        found["late"] = refused(audited)
    dist.barrier()
    processes.PATIENCE = 10.0
    time.sleep(rank)
    found["again"] = audited()
    torch.save(found, folder / f"{rank}.pt")
    processes.stop()


@pytest.mark.medium
def test_two_processes(tmp_path: Path) -> None:
    mp.spawn(work, args=(tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    plain = audited()
    assert plain == first["local"] == first["together"] == second["together"] == first["again"] == second["again"]
    expected = faal.offsets(net(), IMAGES, LABELS, epsilon=0.1, attack="pgd2")
    torch.testing.assert_close(first["local offsets"], expected)
    for sentence, seconds in (first["refused"], first["offsets refused"], second["late"]):
        assert "local=True" in sentence
        assert "\n" not in sentence
        assert seconds < 5


def test_without_a_group_it_changes_nothing() -> None:
    assert audited(local=True) == audited()
