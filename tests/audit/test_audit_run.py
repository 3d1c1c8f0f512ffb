import inspect
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import faal
import faal.audit
from faal.audit import AuditResult, audit
from faal.audit.blocks import block_seed
from faal.errors import InputError
from faal.inner.pgd import pgd

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
            problem.net, images, labels, epsilon=0.15, step_size=0.15 / 4, steps=5, noise=noise, keep_success=True
        )
        with torch.no_grad():
            before, after = problem.net(images).argmax(dim=1), problem.net(adversarial).argmax(dim=1)
        expected += torch.where(before == labels, after, before).tolist()
    assert result.verdicts.predicted["pgd5"].tolist() == expected
    average = result.attacks["pgd5"].average
    assert average.value == pytest.approx(np.mean(np.array(expected) == problem.labels.numpy()))
    assert 0.2 < average.value < 0.8
    assert not result.verdicts.correct("pgd5")[3]


def test_clean_comes_first_asked_for_or_not_and_all_last(problem) -> None:  # type: ignore[no-untyped-def]
    result = audit(problem.net, problem.images, problem.labels, attacks=["pgd2"], epsilon=0.15)
    assert list(result.attacks) == ["clean", "pgd2", "all"]
    both = result.verdicts.correct("clean") & result.verdicts.correct("pgd2")
    assert np.array_equal(result.verdicts.correct("all"), both)
    assert result.attacks["all"].parameters == {"attacks": ["clean", "pgd2"]}
    assert result.attacks["all"].seconds >= result.attacks["pgd2"].seconds


def test_bytes_arrays_and_stores_are_one_to_it(problem) -> None:  # type: ignore[no-untyped-def]
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


def test_the_seed_decides_and_nothing_else(problem) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    first = audit(problem.net, problem.images, problem.labels, attacks="pgd1", epsilon=0.15)
    torch.manual_seed(2)
    again = audit(problem.net, problem.images, problem.labels, attacks="pgd1", epsilon=0.15)
    other = audit(problem.net, problem.images, problem.labels, attacks="pgd1", epsilon=0.15, seed=1)
    assert same_verdicts(first, again)
    assert not same_verdicts(first, other)


class Limited(nn.Module):
    """Fails where it is shown more images at once than fit."""

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


def test_the_model_and_the_generators_come_back_as_they_were(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(5, 12)
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), problem.net)
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


def test_a_killed_audit_goes_on_and_ends_as_if_nothing_had_been(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
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
    # 4 blocks clean, then 2 blocks of CW-5: 5 forwards of the attack and one that confirms.
    assert (needed, forwards) == (4 + 2 * 4 * 6, 4 + 2 * 6)
    assert same_verdicts(whole, resumed)
    assert same_verdicts(whole, AuditResult.read(tmp_path))
    forwards = 0
    more = audit(problem.net, problem.images, problem.labels, **{**QUICK, "attacks": "pgd5,cw5,pgd3"}, out=tmp_path)
    assert forwards == 4 + 4 * 4
    assert list(more.attacks) == ["clean", "pgd5", "cw5", "pgd3", "all"]


def test_blocks_of_other_weights_or_of_another_description_are_not_taken(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    told: dict[str, Any] = {**QUICK, "attacks": "pgd1", "out": tmp_path}
    audit(problem.net, problem.images, problem.labels, **told)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "blocks").iterdir()}
    assert len(kept) == 4

    def made_again() -> int:
        return sum(path.stat().st_mtime_ns != kept[path] for path in kept)

    audit(problem.net, problem.images, problem.labels, **told)
    assert made_again() == 0
    with torch.no_grad():
        problem.net[3].bias += 1e-6
    audit(problem.net, problem.images, problem.labels, **told)
    assert made_again() == 4
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "blocks").iterdir()}
    audit(problem.net, problem.images, problem.labels, **told, model_record={"normalize": "cifar10"})
    assert made_again() == 4


TWO_PROCESSES = """
import os, sys
sys.path.insert(0, sys.argv[2])
import torch, faal.audit
from conftest import make_problem
from faal.engine import processes
processes.start(torch.device("cpu"))
assert processes.world_size() == 2
problem = make_problem(5, 60)
if len(sys.argv) > 3 and processes.rank() == 1:
    problem.net[3].bias.data += 1
try:
    result = faal.audit(problem.net, problem.images, problem.labels, attacks="pgd5,cw5", epsilon=0.15, block_size=16,
                        out=sys.argv[1])
    print(result.verdicts.predicted["all"].tolist(), result.examples.index.tolist())
except faal.InputError as error:
    print(error)
processes.stop()
"""


def two_processes(out: Path, *more: str) -> list[str]:
    import os
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common["OMP_NUM_THREADS"] = "1"
    arguments = [sys.executable, "-c", TWO_PROCESSES, str(out), str(Path(__file__).parent), *more]
    started = [
        subprocess.Popen(arguments, env={**common, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    return [process.communicate(timeout=120)[0].strip() for process in started]


def test_two_processes_find_what_one_finds(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    whole = audit(problem.net, problem.images, problem.labels, **QUICK)
    assert whole.examples is not None
    expected = f"{whole.verdicts.predicted['all'].tolist()} {whole.examples.index.tolist()}"
    assert two_processes(tmp_path) == [expected, expected]
    written = AuditResult.read(tmp_path)
    assert same_verdicts(written, whole)
    assert written.environment["processes"] == 2
    assert len(list((tmp_path / "blocks").iterdir())) == 8


def test_processes_with_different_weights_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert all("different weights" in said for said in two_processes(tmp_path, "differ"))


# --- what it refuses and remarks on ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, r"did you mean 8/255\?"),
        ({"norm": "l2"}, "only linf"),
        ({"attacks": "pgd20,autoatack"}, "did you mean 'autoattack'"),
        ({"engine": "fast"}, "no audit engine 'fast'"),
        ({"limit": 0}, "limit is 0"),
        ({"classes": ["a", "b", "c", "d"]}, r"sample 4 has the label 4, out of range: the 4 classes are 0 to 3"),
        ({"classes": ["a", "b", "c", "d", "e", "f"]}, "5 outputs but there are 6 classes"),
    ],
)
def test_wrong_settings_are_refused(problem, change: dict[str, Any], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        audit(problem.net, problem.images, problem.labels, **{**QUICK, **change})


def test_wrong_data_are_refused_and_nothing_is_written(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    net, images, labels = problem.net, problem.images, problem.labels

    def refused(message: str, net: nn.Module, images: Any, labels: Any) -> None:
        with pytest.raises(InputError, match=message):
            audit(net, images, labels, **QUICK, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused("image 20 runs from", net, images + (torch.arange(60) == 20).view(60, 1, 1, 1), labels)
    refused("divide by 255", net, images * 255, labels)
    refused("60 images and 59 labels", net, images, labels[:-1])
    refused("label 7, out of range", net, images, torch.where(torch.arange(60) == 50, 7, labels))
    refused("must be integers", net, images, labels.float())
    refused(r"\(N, channels, H, W\)", net, images[:, 0], labels)
    refused("does not take images of shape", net, images[:, :, :3], labels)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    nn.init.constant_(broken[1].weight, torch.nan)  # type: ignore[arg-type]
    refused("NaN or infinite", broken, images, labels)


def test_signs_of_misuse_are_remarked_on(problem) -> None:  # type: ignore[no-untyped-def]
    soft = nn.Sequential(problem.net, nn.Softmax(dim=1)).eval()
    warnings = audit(soft, problem.images, problem.labels, attacks="clean").warnings
    assert [warning[:20] for warning in warnings] == ["The model's outputs ", "5 classes have fewer"]
    strange = nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).eval()
    nn.init.zeros_(strange[1].weight)  # type: ignore[arg-type]
    assert any("near chance" in warning for warning in audit(strange, problem.images, problem.labels).warnings)


def test_below_four_classes_the_smaller_ensemble_is_named(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(2, 8)
    result = audit(problem.net, problem.images, problem.labels, attacks="autoattack", epsilon=0.9)
    assert any("apgd-ce, fab, square" in warning for warning in result.warnings)
    assert result.attacks["autoattack"].average.value == 0


# --- the name --------------------------------------------------------------------------------------------------------


def test_the_package_is_the_function(problem) -> None:  # type: ignore[no-untyped-def]
    assert inspect.ismodule(faal.audit)
    result = faal.audit(problem.net, problem.images, problem.labels, attacks="clean")  # type: ignore[operator]
    assert isinstance(result, faal.audit.AuditResult)
    from faal.audit.run import audit as function

    assert faal.audit.audit is function


def test_it_can_be_called_without_being_imported_by_name() -> None:
    code = (
        "import faal; assert callable(faal.audit); import faal.audit; assert callable(faal.audit); faal.audit.compare"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
