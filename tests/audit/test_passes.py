from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from tests.helpers.subjects import subject_of
from torch import Tensor, nn

from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.protocol import AttackedBlock
from faal.audit.blocks import Subject, block_seed
from faal.audit.judge import AttackVerdict
from faal.audit.passes import _square, attack_passes, clean_pass, fingerprint
from faal.config import Threat
from faal.data.images import InMemory
from faal.engine import processes
from faal.errors import InputError


@dataclass(frozen=True)
class Complaining(GradientAttack):
    """PGD that warns from some blocks, with the block's own number in the sentence."""

    def caveats(self, *, num_classes: int) -> tuple[str, ...]:
        return (f"Beside {num_classes} classes.",)

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        if block.active.sum() > 12:
            warn(f"there are {int(block.active.sum())} points with zero gradient!")
        return super().run(model, block, warn)


@pytest.fixture
def subject(problem) -> Subject:  # type: ignore[no-untyped-def]
    return subject_of(problem.net, problem.images, problem.labels)


def test_blocks_are_joined_in_order(subject: Subject) -> None:
    found = attack_passes(subject, [GradientAttack("pgd5", "ce", 5)], clean_pass(subject, 5))
    with torch.no_grad():
        clean = subject.model(subject.images.fetch(subject.index)).argmax(dim=1)
    assert list(found.predicted) == ["clean", "pgd5"]
    assert found.predicted["clean"].tolist() == clean.tolist()
    assert (found.predicted["pgd5"] != clean.numpy()).any()
    assert found.num_classes == 5
    assert set(found.seconds) == {"clean", "pgd5"}
    assert min(found.seconds.values()) > 0
    assert found.warnings == ()


def test_examples_are_of_misclassified_samples(subject: Subject) -> None:
    found = attack_passes(
        subject, [GradientAttack("pgd5", "ce", 5), GradientAttack("cw5", "cw", 5)], clean_pass(subject, None)
    )
    examples = found.examples
    assert examples is not None
    labels = subject.labels.numpy()
    for place, index in enumerate(examples.index):
        attack = str(examples.attack[place])
        assert found.predicted[attack][index] == examples.adversarial_predicted[place] != labels[index]
        assert examples.label[place] == labels[index]
    assert len(set(examples.index.tolist())) == len(examples)


def test_a_warning_is_stated_once_with_its_blocks(subject: Subject) -> None:
    found = attack_passes(subject, [Complaining("pgd5", "ce", 5)], clean_pass(subject, None))
    caveat, warning = found.warnings
    assert caveat == "Beside 5 classes."
    assert warning.startswith("pgd5, in 3 of 4 blocks, first in block 0: there are ")


def test_labels_beyond_the_outputs_are_refused_before_any_attack(subject: Subject) -> None:
    labels = subject.labels.clone()
    labels[17] = 5
    with pytest.raises(InputError, match="sample 17 has the label 5"):
        clean_pass(replace(subject, labels=labels), None)


def test_the_fingerprint_is_of_labels_and_images_and_not_of_the_blocks(subject: Subject) -> None:
    def of(**change: Any) -> str:
        changed = replace(subject, **change)
        return fingerprint(changed.labels, clean_pass(changed, None))

    assert of() == of(block_size=7) == of(threat=Threat(epsilon=0.3))
    assert isinstance(subject.images, InMemory)
    brighter = subject.images.pixels.clone()
    brighter[59, 0, 3, 3] = 1 - brighter[59, 0, 3, 3]
    assert len({of(), of(images=InMemory(brighter)), of(labels=subject.labels.roll(1))}) == 3


def test_what_processes_exchange_is_small_and_joins_to_the_full_audit(subject: Subject, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Three processes simulated one after another: each receives what the others sent in an earlier round."""
    attacks = [GradientAttack("pgd5", "ce", 5)]
    full = attack_passes(subject, attacks, clean_pass(subject, None))
    sent: dict[tuple[int, int], Any] = {}

    def play(rank: int) -> Any:
        turn = iter(range(100))

        def gather(item: Any) -> list[Any]:
            call = next(turn)
            sent[call, rank] = item
            return [sent.get((call, other), item) for other in range(3)]

        monkeypatch.setattr(processes, "rank", lambda: rank)
        monkeypatch.setattr(processes, "world_size", lambda: 3)
        monkeypatch.setattr(processes, "gather_objects", gather)
        return attack_passes(subject, attacks, clean_pass(subject, None))

    for rank in (0, 1, 2):
        play(rank)
    for rank in (0, 1, 2):
        found = play(rank)
        assert all(np.array_equal(found.predicted[name], full.predicted[name]) for name in full.predicted)
        assert found.examples is not None
        assert full.examples is not None
        for name, array in full.examples.arrays().items():
            assert np.array_equal(found.examples.arrays()[name], array)
    assert all(len(verdict.examples) == 0 for rank in range(3) for verdict in sent[1, rank].values())


@dataclass(frozen=True)
class Squaring(GradientAttack):
    """Warns as pyautoattack does when its last member found `misclassified` samples of one block."""

    misclassified: int = 0

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        if block.seed == block_seed(7, 1):
            share = self.misclassified / int(block.active.sum())
            warn(f"Square Attack has decreased the robust accuracy of {share:.2%}. This might indicate ...")
        return super().run(model, block, warn)


@pytest.mark.parametrize(("misclassified", "warned"), [(0, False), (3, True)])
def test_the_sign_of_masked_gradients_is_tested_over_all_blocks(
    subject: Subject, misclassified: int, warned: bool
) -> None:
    found = attack_passes(subject, [Squaring("pgd5", "ce", 5, misclassified=misclassified)], clean_pass(subject, None))
    with torch.no_grad():
        correct = int((subject.model(subject.images.fetch(subject.index)).argmax(dim=1) == subject.labels).sum())
    assert len(found.warnings) == warned
    if warned:
        assert "found adversarial examples for 3 samples" in found.warnings[0]
        assert f"of {correct} (" in found.warnings[0]


@pytest.mark.parametrize(
    ("misclassified", "blocks", "warned"), [(1, 1, False), (2, 4, False), (4, 1, False), (5, 1, True)]
)
def test_the_number_of_samples_that_is_a_sign(misclassified: int, blocks: int, warned: bool) -> None:
    """At a true share of 0.2 %, five or more of 250 happen once in 5,000 audits, four or more once in 600."""
    assert (scipy.stats.binom.sf(misclassified - 1, 250 * blocks, 0.002) <= 1e-3) == warned
    warning = f"Square Attack has decreased the robust accuracy of {misclassified / 250:.2%}. This might indicate ..."
    nothing = AttackVerdict(predicted=np.zeros(250, np.int16), seconds=0.0, warnings=(), examples=None)  # type: ignore[arg-type]
    verdicts = dict.fromkeys(range(blocks), nothing) | {0: replace(nothing, warnings=(warning,))}
    assert bool(_square(verdicts, dict.fromkeys(verdicts, 250))) == warned
