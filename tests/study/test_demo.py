"""The demo, shortened: its files, that it continues where it was stopped, and its figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from faal.audit import AuditResult
from faal.config import Recipe
from faal.errors import InputError
from faal.report import write_report
from faal.study import demo as study
from faal.study.jobs import Job

CPU = torch.device("cpu")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch, a narrow network, a small epsilon, and jobs in this process."""
    real = study.load_recipe

    def load(name: str) -> Recipe:
        return real(name).replace({"epochs": 1, "width": 4, "steps": 1, "epsilon": 0.05}, source="test")

    def in_this_process(jobs: list[Job], **_: object) -> list[object]:
        return [job.function(*job.arguments) for job in jobs]

    monkeypatch.setattr(study, "load_recipe", load)
    monkeypatch.setattr(study, "side_by_side", in_this_process)


@pytest.mark.usefixtures("short")
@pytest.mark.slow
def test_the_figures_are_those_of_the_verdicts(tmp_path: Path) -> None:
    record = study.demo(tmp_path, seeds=(1, 2), autoattack=0, device=CPU)
    assert json.loads((tmp_path / "demo.json").read_text()) == record
    assert [row["seed"] for row in record["seeds"]] == [1, 2]
    for row in record["seeds"]:
        for role in ("base", "control", "repaired"):
            result = AuditResult.read(tmp_path / f"seed-{row['seed']}" / role)
            verdicts = result.verdicts
            correct = verdicts.correct("pgd20x5") & verdicts.correct("cw20x5") & verdicts.correct("clean")
            assert not (correct & ~(verdicts.correct("pgd20") & verdicts.correct("cw20"))).any()
            assert row[role]["average"] == pytest.approx(correct.mean())
            assert row[role]["worst"] == pytest.approx(min(correct[verdicts.label == c].mean() for c in range(10)))
    assert write_report([tmp_path]).stat().st_size > 10_000

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    again = study.demo(tmp_path, seeds=(1, 2), autoattack=0, device=CPU)
    assert again["seeds"] == record["seeds"]
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}


@pytest.mark.usefixtures("short")
def test_control_and_repair_start_from_the_base(tmp_path: Path) -> None:
    study.train_seed(tmp_path, 1, CPU)
    digests = {
        role: (tmp_path / "seed-1" / role / "config.yaml").read_text().split("sha256:")[1].split()[0]
        for role in ("control", "repaired")
    }
    from faal.checkpoint import digest

    assert set(digests.values()) == {digest(tmp_path / "seed-1" / "base" / "best.pt")}


def test_the_table_for_the_terminal() -> None:
    figures = {role: {"average": 0.7, "worst": 0.3} for role in study.ROLES}
    table = study.demo_table({"seeds": [{"seed": 1, **figures}], "autoattack": figures})
    assert table.row_count == 3
    assert np.all([len(list(column.cells)) == 3 for column in table.columns])


def test_a_file_of_its_name_that_is_no_demos_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"slides": []}')
    with pytest.raises(InputError, match=r"demo\.json is of no demo, and is not overwritten"):
        study.demo(tmp_path, device=CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
