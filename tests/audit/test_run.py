import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faal.audit import AuditResult, audit
from faal.audit.blocks import block_seed
from faal.inner.pgd import AttackSettings, pgd

QUICK: dict[str, Any] = {"attacks": "pgd5,cw5", "epsilon": 0.15, "block_size": 16}


def same_verdicts(a: AuditResult, b: AuditResult) -> bool:
    return a.attacks.keys() == b.attacks.keys() and all(
        np.array_equal(a.verdicts.predicted[name], b.verdicts.predicted[name]) for name in a.attacks
    )


# --- the figures -----------------------------------------------------------------------------------------------------


def test_verdicts_are_those_of_pgd_called_by_hand_on_each_block(problem) -> None:  # type: ignore[no-untyped-def]
    problem.labels[3] = (problem.labels[3] + 1) % 5
    result = audit(problem.net, problem.images, problem.labels, **QUICK, seed=4)
    expected = []
    for block in range(4):
        rows = slice(16 * block, 16 * block + 16)
        images, labels = problem.images[rows], problem.labels[rows]
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(block_seed(4, block)))
        adversarial = pgd(
            problem.net,
            images,
            labels,
            AttackSettings(steps=5),
            epsilon=0.15,
            step_size=0.15 / 4,
            noise=noise,
            keep_success=True,
        )
        with torch.no_grad():
            before, after = problem.net(images).argmax(dim=1), problem.net(adversarial).argmax(dim=1)
        expected += torch.where(before == labels, after, before).tolist()
    assert result.verdicts.predicted["pgd5"].tolist() == expected
    average = result.attacks["pgd5"].average
    assert average.value == pytest.approx(np.mean(np.array(expected) == problem.labels.numpy()))
    assert 0.2 < average.value < 0.8
    assert not result.verdicts.correct("pgd5")[3]


def test_clean_is_first_named_or_not_and_all_last(problem) -> None:  # type: ignore[no-untyped-def]
    result = audit(problem.net, problem.images, problem.labels, attacks=["pgd2"], epsilon=0.15)
    assert list(result.attacks) == ["clean", "pgd2", "all"]
    both = result.verdicts.correct("clean") & result.verdicts.correct("pgd2")
    assert np.array_equal(result.verdicts.correct("all"), both)
    assert result.attacks["all"].parameters == {"attacks": ["clean", "pgd2"]}
    assert result.attacks["all"].seconds >= result.attacks["pgd2"].seconds


def test_bytes_arrays_and_stores_give_the_same_result(problem) -> None:  # type: ignore[no-untyped-def]
    pixels = (problem.images * 255).round().to(torch.uint8)

    class Store:
        def __len__(self) -> int:
            return len(pixels)

        def fetch(self, index: Tensor) -> Tensor:
            return pixels[index].float() / torch.tensor(255.0)

    results = [
        audit(problem.net, images, labels, **QUICK)
        for images, labels in (
            (pixels, problem.labels),
            (pixels.double() / 255, problem.labels.to(torch.int32)),
            (pixels.numpy(), problem.labels.tolist()),
            (Store(), problem.labels.numpy()),
        )
    ]
    assert all(same_verdicts(results[0], other) for other in results[1:])


def test_rounding_beyond_the_range_is_clamped_and_stated(problem) -> None:  # type: ignore[no-untyped-def]
    """The verdicts are those on the clamped images; the caller's array is unchanged."""
    images = problem.images.clone()
    images[7, 0, 0, 0], images[9, 0, 0, 0] = 1.0000001, -1e-7
    before = images.clone()
    clamped = audit(problem.net, images.clamp(0, 1), problem.labels, **QUICK)
    result = audit(problem.net, images, problem.labels, train_images=1 - images, **QUICK)
    assert same_verdicts(result, clamped)
    assert torch.equal(images, before)
    said = [warning for warning in result.warnings if warning not in clamped.warnings]
    assert len(said) == 2
    assert said[0].startswith("images has values up to 1e-07 outside [0, 1]")
    assert said[1].startswith("train_images has values")


def test_the_seed_decides_and_nothing_else(problem) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    first = audit(problem.net, problem.images, problem.labels, attacks="pgd1", epsilon=0.6)
    torch.manual_seed(2)
    again = audit(problem.net, problem.images, problem.labels, attacks="pgd1", epsilon=0.6)
    other = audit(problem.net, problem.images, problem.labels, attacks="pgd1", epsilon=0.6, seed=1)
    assert same_verdicts(first, again)
    assert not same_verdicts(first, other)


class Limited(nn.Module):
    """Fails at more images per forward than fit."""

    def __init__(self, net: nn.Module, fit: int) -> None:
        super().__init__()
        self.net = net
        self.fit = fit

    def forward(self, images: Tensor) -> Tensor:
        assert len(images) <= self.fit
        logits: Tensor = self.net(images)
        return logits


@pytest.mark.parametrize("batch_size", [1, 5, 15])
def test_a_memory_limit_splits_forwards_and_changes_no_verdict(problem, batch_size: int) -> None:  # type: ignore[no-untyped-def]
    whole = audit(problem.net, problem.images, problem.labels, **QUICK)
    split = audit(Limited(problem.net, batch_size), problem.images, problem.labels, **QUICK, batch_size=batch_size)
    assert same_verdicts(whole, split)


def test_limit_draws_a_part_that_the_seed_decides(problem) -> None:  # type: ignore[no-untyped-def]
    parts = [
        audit(problem.net, problem.images, problem.labels, attacks="clean", limit=20, seed=seed) for seed in (0, 0, 1)
    ]
    index = [part.verdicts.index for part in parts]
    assert np.array_equal(index[0], index[1])
    assert not np.array_equal(index[0], index[2])
    assert len(set(index[0].tolist())) == 20
    assert np.all(np.diff(index[0]) > 0)
    assert np.array_equal(parts[0].verdicts.label, problem.labels.numpy()[index[0]])
    whole = audit(problem.net, problem.images, problem.labels, attacks="clean")
    assert np.array_equal(parts[0].verdicts.predicted["clean"], whole.verdicts.predicted["clean"][index[0]])
    assert any("20 of 60 samples" in warning for warning in parts[0].warnings)
    more = audit(problem.net, problem.images, problem.labels, attacks="clean", limit=600)
    assert same_verdicts(more, whole)


# --- what it leaves alone --------------------------------------------------------------------------------------------


class Drawing(nn.Module):
    """Draws from every global generator, to no effect."""

    def forward(self, images: Tensor) -> Tensor:
        return images + 0 * (torch.rand(1) + float(np.random.rand()) + random.random())


def test_the_model_and_the_generators_are_unchanged_afterwards(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(5, 12)
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), problem.net, Drawing())
    net.train()
    net[0].eval()
    net[2][1].weight.requires_grad_(False)
    modes = {name: module.training for name, module in net.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    drawn = []
    for run in (False, True):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        if run:
            result = audit(net, problem.images, problem.labels, attacks="pgd2,autoattack", epsilon=0.9)
        drawn.append((torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()))
    assert drawn[0] == drawn[1]
    assert {name: module.training for name, module in net.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in net.named_parameters()} == flags
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert any("in training mode" in warning for warning in result.warnings)
    plain = audit(net.eval(), problem.images, problem.labels, attacks="pgd2", epsilon=0.9)
    assert np.array_equal(plain.verdicts.predicted["clean"], result.verdicts.predicted["clean"])


def test_it_audits_in_float32_whatever_the_caller_has_switched_on(problem) -> None:  # type: ignore[no-untyped-def]
    kinds = set()

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        kinds.add(output.dtype)

    handle = problem.net.register_forward_hook(note)
    plain = audit(problem.net, problem.images, problem.labels, **QUICK)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        inside = audit(problem.net, problem.images, problem.labels, **QUICK)
    handle.remove()
    assert kinds == {torch.float32}
    assert same_verdicts(plain, inside)


# --- resuming --------------------------------------------------------------------------------------------------------


def test_a_killed_audit_continues_and_ends_as_if_undisturbed(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    forwards = 0

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    def kill(attack: str, done: int, total: int) -> None:
        if (attack, done) == ("cw5", 2):
            raise KeyboardInterrupt

    problem.net.register_forward_hook(count)
    whole = audit(problem.net, problem.images, problem.labels, **QUICK)
    needed, forwards = forwards, 0
    with pytest.raises(KeyboardInterrupt):
        audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path, progress=kill)
    assert not (tmp_path / "audit.json").exists()
    forwards = 0
    resumed = audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    # 4 blocks clean, then 2 blocks of CW-5: 5 forwards of the attack and one that confirms; and the checks for misuse.
    checks = needed - (4 + 2 * 4 * 6)
    assert checks > 0
    assert forwards == 4 + 2 * 6 + checks
    assert same_verdicts(whole, resumed)
    assert same_verdicts(whole, AuditResult.read(tmp_path))
    forwards = 0
    more = audit(problem.net, problem.images, problem.labels, **{**QUICK, "attacks": "pgd5,cw5,pgd3"}, out=tmp_path)
    assert forwards == 4 + 4 * 4 + checks
    assert list(more.attacks) == ["clean", "pgd5", "cw5", "pgd3", "all"]


TWO_PROCESSES = """
import sys
import torch
sys.path.insert(0, sys.argv[2])
import faal.audit
from conftest import make_problem
from faal.engine import processes

processes.start(torch.device("cpu"))
problem = make_problem(5, 60)
given = {"attacks": "pgd5,cw5", "epsilon": 0.15, "block_size": 16}
result = faal.audit(problem.net, problem.images, problem.labels, **given, out=sys.argv[1])
print(result.verdicts.predicted["all"].tolist(), result.examples.index.tolist())
problem.net[3].bias.data += processes.rank()
try:
    faal.audit(problem.net, problem.images, problem.labels, **given)
except faal.InputError as error:
    print(error)
processes.stop()
"""


@pytest.mark.medium
def test_two_processes_have_the_verdicts_of_one_and_need_the_same_weights(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TWO_PROCESSES, str(tmp_path), str(Path(__file__).parent)]
    started = [
        subprocess.Popen(command, env={**os.environ, **group, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[0].splitlines() for process in started]

    whole = audit(problem.net, problem.images, problem.labels, **QUICK)
    assert whole.examples is not None
    expected = f"{whole.verdicts.predicted['all'].tolist()} {whole.examples.index.tolist()}"
    assert [lines[0] for lines in said] == [expected, expected]
    written = AuditResult.read(tmp_path)
    assert same_verdicts(written, whole)
    assert written.environment["processes"] == 2
    assert len(list((tmp_path / "blocks").iterdir())) == 8
    assert all("different weights" in lines[1] for lines in said)
