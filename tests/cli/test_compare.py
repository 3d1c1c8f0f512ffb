"""`faal compare` on the command line: its output, from the folders alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Faal

from faal.audit import AuditResult
from faal.audit.estimates import summarise
from faal.audit.records.verdicts import Verdicts, with_all

LABEL = np.repeat(np.arange(3), 100)


def write(folder: Path, right: list[int], digest: str) -> None:
    """An audit in which the first `right` of each class's 100 samples are robust."""
    wrong = np.arange(300) % 100 >= np.repeat(right, 100)
    attacked = np.where(wrong, (LABEL + 1) % 3, LABEL).astype(np.int16)
    predicted = with_all(LABEL, {"pgd20": attacked})
    classes = ["ant", "bee", "cat"]
    AuditResult(
        model={"name": "net", "digest": digest},
        data={"name": "animals", "split": "test", "n": 300, "classes": classes},
        threat={"norm": "linf", "epsilon": 8 / 255},
        seed=0,
        engine="reference",
        block_size=250,
        level=0.95,
        interval_method="",
        warnings=(),
        environment={},
        attacks={
            name: summarise(LABEL, values, classes=classes, level=0.95, parameters={}, seconds=1.0)
            for name, values in predicted.items()
        },
        verdicts=Verdicts(label=LABEL, index=np.arange(300), predicted=predicted),
        examples=None,
    ).write(folder)


@pytest.fixture
def runs(work: Path) -> Path:
    for seed, (before, after) in enumerate(zip((20, 24, 23), (45, 44, 40), strict=True)):
        write(work / f"at-{seed}", [70, 60, before], f"a{seed}")
        write(work / f"faal-{seed}", [66, 61, after], f"b{seed}")
    return work


@pytest.fixture
def compare(runs: Path, faal: Faal) -> Callable[..., tuple[int, str]]:
    """The exit status of a comparison and its output, in one line."""

    def run(*sides: str) -> tuple[int, str]:
        status, out, err = faal("compare", *sides)
        return status, " ".join((out + err).split())

    return run


def test_one_run_a_side_compares_models(compare: Callable[..., tuple[int, str]]) -> None:
    status, said = compare("base=at-0", "repaired=faal-0")
    assert status == 0
    assert "linf epsilon 8/255" in said
    assert "│ cat │ 20.0 │ 45.0 │ +25.0 (" in said
    assert "repaired is better than base" in said
    assert "not their training methods" in said


def test_several_runs_a_side_compare_methods(compare: Callable[..., tuple[int, str]]) -> None:
    status, said = compare("at=at-0,at-1,at-2", "faal=faal-0,faal-1,faal-2")
    assert status == 0
    assert "faal is better than at" in said
    assert "from 3 pairs of runs" in said
    assert "not their training methods" not in said


def test_runs_that_cannot_be_paired_are_refused(compare: Callable[..., tuple[int, str]]) -> None:
    status, said = compare("at=at-0,at-1", "faal=faal-0")
    assert status == 2
    assert "at has 2 audits" in said
    status, said = compare("at=at-0,at-0", "faal=faal-0,faal-1")
    assert status == 2
    assert "the same network" in said
