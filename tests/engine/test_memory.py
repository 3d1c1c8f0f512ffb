from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.problems import Problem, make_problem
from torch import Tensor, nn

from faal.audit import audit, audit_share
from faal.engine import memory
from faal.engine.memory import ChunkedForward, max_chunk, retry_on_oom
from faal.errors import InputError

QUICK: dict[str, Any] = {"attacks": "pgd2", "epsilon": 0.15}


@pytest.fixture
def problem() -> Problem:
    return make_problem(5, 60)


class Counting(nn.Module):
    """Records the batch size of every forward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        logits: Tensor = self.net(images)
        return logits


@pytest.mark.parametrize("limit", [1, 7, 60, 100])
def test_logits_and_gradients_are_those_of_the_full_batch(problem, limit: int) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    memory = ChunkedForward(counting, limit)
    images = problem.images.clone().requires_grad_()
    found, expected = memory(images), problem.net(images)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    first, again, full = (
        torch.autograd.grad(logits, images, weights, retain_graph=True)[0] for logits in (found, found, expected)
    )
    assert torch.allclose(first, full, atol=1e-6)
    assert torch.equal(first, again)
    assert max(counting.batches) <= limit
    with torch.no_grad():
        assert torch.allclose(memory(problem.images), expected, atol=1e-6)
    assert max(counting.batches) <= limit


def test_split_activations_are_dropped_and_computed_again(problem) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    images = problem.images.clone().requires_grad_()
    logits = ChunkedForward(counting, 25)(images)
    assert counting.batches == [25, 25, 10]
    logits.sum().backward()
    assert sorted(counting.batches) == [10, 10, 25, 25, 25, 25]


def test_a_batch_within_the_limit_is_not_computed_twice(problem) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    images = problem.images.clone().requires_grad_()
    ChunkedForward(counting, 60)(images).sum().backward()
    assert counting.batches == [60]


# --- out of memory ----------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """A device whose memory holds `room` images."""

    def __init__(self, net: nn.Module, room: int) -> None:
        super().__init__()
        self.net, self.room = net, room
        self.largest = 0

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.largest = max(self.largest, len(images))
        logits: Tensor = self.net(images)
        return logits


def test_saved_tensors_are_counted_once_and_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tanh saves its result, 256 bytes per image; a linear layer its weights, which are no activation."""
    image = torch.rand(1, 1, 8, 8)
    five = nn.Sequential(*(nn.Tanh() for _ in range(5)), nn.Flatten(), nn.Linear(64, 3).requires_grad_(False))
    monkeypatch.setattr(memory, "MAX_ACTIVATION_BYTES", 10 * 5 * 256)
    assert max_chunk(five, image, 250) == 10
    assert max_chunk(five, image, 7) == 7
    monkeypatch.setattr(memory, "MAX_ACTIVATION_BYTES", 100)
    assert max_chunk(five, image, 250) == 1
    assert max_chunk(nn.Linear(3, 3), image, 250) == 250  # of a size that it does not accept: rejected elsewhere


@pytest.mark.medium
def test_an_audit_on_a_cpu_stays_within_its_memory(problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    full = audit(counting, problem.images, problem.labels, attacks="pgd2", epsilon=0.15)
    assert max(counting.batches) == 60
    monkeypatch.setattr(memory, "MAX_ACTIVATION_BYTES", 1)
    counting.batches.clear()
    split = audit(counting, problem.images, problem.labels, attacks="pgd2", epsilon=0.15)
    assert set(counting.batches) == {1}  # the clean pass and the probes too
    counting.batches.clear()
    audit_share(counting, problem.images, problem.labels, rank=0, world_size=1, out=tmp_path, **QUICK)
    assert set(counting.batches) == {1}
    counting.batches.clear()
    audit(counting, problem.images, problem.labels, batch_size=7, **QUICK)
    assert max(counting.batches) == 7
    assert (split.verdicts.predicted["pgd2"] == full.verdicts.predicted["pgd2"]).all()


@pytest.mark.medium
@pytest.mark.parametrize(("room", "largest"), [(1, 1), (8, 7)])  # 250, 125, 62, 31, 15, 7
def test_out_of_memory_halves_the_images_per_forward(problem, room: int, largest: int) -> None:  # type: ignore[no-untyped-def]
    small = Small(problem.net, room)
    full = audit(problem.net, problem.images, problem.labels, attacks="pgd2", epsilon=0.15)
    found = audit(small, problem.images, problem.labels, attacks="pgd2", epsilon=0.15)
    assert small.largest == largest
    assert (found.verdicts.predicted["pgd2"] == full.verdicts.predicted["pgd2"]).all()


def test_a_device_without_memory_for_one_image(problem) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="memory for one image"):
        audit(Small(problem.net, 0), problem.images, problem.labels, attacks="clean")


def test_work_is_repeated_from_its_start_and_all_limits_are_halved() -> None:
    one, other = ChunkedForward(nn.Identity(), 8), ChunkedForward(nn.Identity(), 5)
    limits = []

    def work() -> str:
        limits.append((one.limit, other.limit))
        if one.limit > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert retry_on_oom(work, nn.Sequential(one), other, None) == "done"
    assert limits == [(8, 5), (4, 2), (2, 1)]
