import logging
import random
import sys

import numpy as np
import pyautoattack
import pytest
import torch
from torch import nn

from faal.audit.attacks.autoattack import StandardEnsemble, ensemble, square_fits
from faal.audit.attacks.protocol import AttackedBlock
from faal.audit.blocks import block_seed
from faal.audit.records.examples import as_bytes
from faal.audit.run import audit
from faal.config import Threat
from faal.errors import InputError


def by_hand(problem, rows: slice, seed: int, num_classes: int, threat: Threat):  # type: ignore[no-untyped-def]
    """pyautoattack as its documentation calls it, on one block."""
    images, labels = problem.images[rows], problem.labels[rows]
    common = {"norm": {"linf": "Linf", "l2": "L2"}[threat.norm], "eps": threat.epsilon, "seed": seed}
    torch.manual_seed(99)
    if num_classes >= 4:
        attack = pyautoattack.AutoAttack(problem.net, version="standard", **common)
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = num_classes - 1
    else:
        attack = pyautoattack.AutoAttack(problem.net, version="custom", attacks=["apgd-ce", "fab", "square"], **common)
        attack.apgd.n_restarts = attack.fab.n_restarts = 1
    adversarial, predicted = attack.run_standard_evaluation(images, labels, batch_size=rows.stop - rows.start)
    return adversarial, predicted


@pytest.mark.medium
@pytest.mark.parametrize(
    ("num_classes", "blocks", "threat"),
    [(3, 1, Threat(epsilon=0.13)), (5, 2, Threat(epsilon=0.2)), (5, 1, Threat("l2", 1.0))],
)
@pytest.mark.usefixtures("_briefly")
def test_verdicts_are_those_of_pyautoattack_called_by_hand_on_each_block(
    problem_of, num_classes, blocks, threat
) -> None:  # type: ignore[no-untyped-def]
    """Blocks of 8: a sample misclassified without attack, some under it, some robust through all queries."""
    problem = problem_of(num_classes, 8 * blocks, seed=4, size=4 if threat.norm == "linf" else 6)
    problem.labels[::8] = (problem.labels[::8] + 1) % num_classes
    result = audit(
        problem.net, problem.images, problem.labels, attacks=["autoattack"], seed=3, block_size=8,
        epsilon=threat.epsilon, norm=threat.norm,
    )  # fmt: skip
    found = [by_hand(problem, slice(8 * k, 8 * k + 8), block_seed(3, k), num_classes, threat) for k in range(blocks)]
    adversarial, predicted = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert np.array_equal(result.verdicts.predicted["autoattack"], predicted.numpy())
    clean, robust = result.verdicts.correct("clean"), result.verdicts.correct("autoattack")
    assert clean.sum() == 7 * blocks
    assert 1 <= robust.sum() < clean.sum()
    examples = result.examples
    assert examples is not None
    assert np.array_equal(examples.adversarial, as_bytes(adversarial[torch.from_numpy(examples.index)]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("height", [4, 5, 8, 14, 19, 48])
@pytest.mark.parametrize("width", [5, 12, 14, 19, 40, 64])
def test_the_sizes_that_square_can_start_on(height: int, width: int, norm: str) -> None:
    threat, images = Threat(norm, 0.5), torch.full((2, 1, height, width), 0.5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(height * width, 3))
    square = ensemble(net, threat=threat, seed=0, num_classes=3, device=images.device).square
    square.n_queries = 1
    try:
        with torch.no_grad():
            square.perturb(images, net(images).argmax(dim=1))
        runs = True
    except (RuntimeError, ZeroDivisionError):
        runs = False
    assert square_fits(images.shape, threat) == runs


def test_images_that_square_cannot_tile(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(5, 8)
    with pytest.raises(InputError, match="4 x 4 pixels"):
        audit(problem.net, problem.images, problem.labels, attacks="autoattack", epsilon=0.5, norm="l2")


def test_the_record_and_the_smaller_set_below_four_classes() -> None:
    row = StandardEnsemble()
    ten = row.parameters(threat=Threat(epsilon=0.1), num_classes=10)
    assert ten["version"] == "standard"
    assert ten["attacks"] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert ten["n_target_classes"] == 9
    assert row.parameters(threat=Threat(epsilon=0.1), num_classes=4)["n_target_classes"] == 3
    assert row.caveats(num_classes=4) == ()
    three = row.parameters(threat=Threat(epsilon=0.1), num_classes=3)
    assert three["attacks"] == ["apgd-ce", "fab", "square"]
    assert "n_target_classes" not in three
    assert "apgd-ce, fab, square" in row.caveats(num_classes=3)[0]


def test_the_ensemble_is_set_up_as_published() -> None:
    def made(num_classes: int) -> pyautoattack.AutoAttack:
        return ensemble(
            nn.Flatten(), threat=Threat(epsilon=0.1), seed=3, num_classes=num_classes, device=torch.device("cpu")
        )

    for num_classes, targets in ((100, 9), (10, 9), (5, 4), (4, 3)):
        standard = made(num_classes)
        assert standard.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert standard.apgd_targeted.n_target_classes == standard.fab.n_target_classes == targets
    for num_classes in (2, 3):
        assert made(num_classes).attacks_to_run == ["apgd-ce", "fab", "square"]
    for auto in (made(10), made(3)):
        assert (auto.apgd.n_restarts, auto.apgd.n_iter, auto.fab.n_restarts, auto.fab.n_iter) == (1, 100, 1, 100)
        assert (auto.square.n_queries, auto.square.n_restarts) == (5000, 1)
        assert (auto.epsilon, auto.norm, auto.seed) == (0.1, "Linf", 3)


def attacked(net: nn.Module, problem, epsilon: float = 0.9) -> list[str]:  # type: ignore[no-untyped-def]
    """The ensemble's warnings; at this epsilon all samples are misclassified at once."""
    warnings: list[str] = []
    with torch.no_grad():
        active = net(problem.images).argmax(dim=1) == problem.labels
    assert active.any()
    block = AttackedBlock(
        images=problem.images,
        labels=problem.labels,
        active=active,
        threat=Threat(epsilon=epsilon),
        seed=1,
        num_classes=5,
    )
    StandardEnsemble().run(net, block, warnings.append)
    return warnings


def test_nothing_is_warned_of_printed_or_left_behind_for_a_plain_net(problem_of, capfd) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(5, 10)

    def tracer(*_: object) -> None:
        return None

    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr]
    logger = logging.getLogger("auto-attack")
    before = logger.level, logger.propagate, list(logger.handlers)
    previous = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert attacked(problem.net, problem) == []
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(previous)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[arg-type]
    assert random.getstate() == states[2]
    assert capfd.readouterr() == ("", "")


def test_its_warnings_of_misuse_are_passed_on(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(5, 10)
    warnings = attacked(nn.Sequential(problem.net, nn.Softmax(dim=1)), problem)
    assert any("probability distribution" in sentence for sentence in warnings)
    assert not any("flags_doc" in sentence for sentence in warnings)


def test_a_dynamic_net_is_detected_and_the_next_one_is_not_affected(problem_of) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(5, 10)

    class Purifying(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                probe = images.detach().requires_grad_()
                torch.autograd.grad(probe.square().sum(), probe)
            logits: torch.Tensor = problem.net(images)
            return logits

    assert any("dynamic defense" in sentence for sentence in attacked(Purifying(), problem))
    assert attacked(problem.net, problem) == []
