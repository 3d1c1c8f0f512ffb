"""`faal compare` on the command line: what it prints, from the folders alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from faal.audit import AuditResult
from faal.audit.summary import summarise
from faal.audit.verdicts import Verdicts, with_all

LABEL = np.repeat(np.arange(3), 100)


def write(folder: Path, right: list[int], digest: str) -> None:
    """An audit in which the first so many of each class's 100 samples withstand."""
    wrong = np.arange(300) % 100 >= np.repeat(right, 100)
    answers = np.where(wrong, (LABEL + 1) % 3, LABEL).astype(np.int16)
    predicted = with_all(LABEL, {"pgd20": answers})
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
            name: summarise(LABEL, told, classes=classes, level=0.95, parameters={}, seconds=1.0)
            for name, told in predicted.items()
        },
        verdicts=Verdicts(label=LABEL, index=np.arange(300), predicted=predicted),
        examples=None,
    ).write(folder)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed, (before, after) in enumerate(zip((20, 24, 23), (45, 44, 40), strict=True)):
        write(tmp_path / f"at-{seed}", [70, 60, before], f"a{seed}")
        write(tmp_path / f"faal-{seed}", [66, 61, after], f"b{seed}")
    return tmp_path


def compare(*sides: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "faal", "compare", *sides],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ | {"COLUMNS": "200"},
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_one_run_a_side_speaks_of_the_models(runs: Path) -> None:
    status, said = compare("base=at-0", "repaired=faal-0", cwd=runs)
    assert status == 0
    assert "linf epsilon 8/255" in said
    assert "│ cat │ 20.0 │ 45.0 │ +25.0 (" in said
    assert "What follows: repaired is better than base on average and in the worst class." in said
    assert "these two models, not the methods" in said


def test_several_runs_a_side_speak_of_the_methods(runs: Path) -> None:
    status, said = compare("at=at-0,at-1,at-2", "faal=faal-0,faal-1,faal-2", cwd=runs)
    assert status == 0
    assert "faal is better than at on average and in the worst class" in said
    assert "from 3 pairs of runs" in said
    assert "not the methods" not in said


def test_what_cannot_be_paired_is_said(runs: Path) -> None:
    status, said = compare("at=at-0,at-1", "faal=faal-0", cwd=runs)
    assert (status, "Traceback" in said) == (2, False)
    assert "at has 2 audits and faal has 1" in said
    status, said = compare("at=at-0,at-0", "faal=faal-0,faal-1", cwd=runs)
    assert (status, "Traceback" in said) == (2, False)
    assert "two of the audits of at are of the same network" in said
