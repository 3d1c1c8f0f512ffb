"""`benchmarks/speed/audit.py` in small."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom
from tests.helpers.benches import script
from tests.helpers.problems import make_problem
from tests.helpers.subjects import subject_of

from faal.audit.attacks.registry import attack_named
from faal.audit.blocks import Subject
from faal.data.images import InMemory
from faal.engine.memory import ChunkedForward

AUDIT = script("audit")


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> Subject:
    problem = make_problem(5, 60)
    monkeypatch.setattr(AUDIT, "AUTOATTACK", attack_named("pgd3"))
    return subject_of(ChunkedForward(problem.net, 20), problem.images, problem.labels, seed=1, block_size=20)


def test_parity_counts_robust_samples_that_differ() -> None:
    """1,000 samples: 10 are misclassified under the reference alone, 20 under fast alone."""
    reference = np.arange(1000) < 500
    fast = reference.copy()
    fast[500:510], fast[:20] = True, False
    other = reference.copy()
    other[:29] = False
    found = AUDIT.parity_record({"reference": [reference], "other seed": [other], "fast": [fast[:300], fast[300:]]})
    assert (found["samples"], found["weaker"], found["stronger"]) == (1000, 10, 20)
    assert found["disagreement"] == pytest.approx(0.030)
    assert found["disagreement with itself"] == pytest.approx(0.029)
    assert binom.cdf(10, 1000, found["bound"]) == pytest.approx(0.05)
    assert not found["holds"]  # the bound
    fast[500:510] = False
    held = {"reference": [reference], "other seed": [other], "fast": [fast]}
    assert AUDIT.parity_record(held)["holds"]
    held["other seed"] = [reference]
    assert not AUDIT.parity_record(held)["holds"]  # the disagreement


@pytest.mark.medium
def test_parity_continues_from_finished_blocks(subject: Subject, tmp_path: Path) -> None:
    first = {name: AUDIT.robust_samples(subject, 1, name, tmp_path) for name in AUDIT.SEEDS}
    assert all(robust.shape == (20,) for robust in first.values())
    assert 0 < first["reference"].sum() < 20
    assert np.array_equal(first["reference"], first["fast"])  # so small a net is evaluated in float32
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 2  # and shares the block
    blind = replace(subject, images=InMemory(subject.images.fetch(torch.arange(60))))
    again = {name: AUDIT.robust_samples(blind, 1, name, tmp_path) for name in AUDIT.SEEDS}
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_speed_is_reported_block_by_block_and_continues(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that are made up: 3 seconds a block against 1, then 6 against 3."""
    made = iter([3.0, 1.0, 3.0, 6.0])
    monkeypatch.setattr(AUDIT, "seconds", lambda work: next(made))
    reports: list[int] = []
    times = [{"plain": 1.0, "fast": 1.0}]
    AUDIT.measured_speed(subject, times, lambda: reports.append(len(times)))
    assert reports == [1, 2, 3]  # earlier results are reported as well
    assert times[1:] == [{"fast": 3.0, "plain": 1.0}, {"plain": 3.0, "fast": 6.0}]
    record = AUDIT.speed_record([{"plain": 3.0, "fast": 1.0}, {"plain": 6.0, "fast": 3.0}], 400)
    assert (record["ratio"], record["least"], record["most"]) == (9 / 4, 2.0, 3.0)
