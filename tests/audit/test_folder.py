"""A folder is for one subject; attacks may be added to it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faal.audit import AuditResult, audit, audit_share
from faal.audit import blocks as audit_blocks
from faal.audit import prepare as audit_prepare
from faal.errors import InputError

QUICK: dict[str, Any] = {"attacks": "pgd2", "epsilon": 0.15, "block_size": 16}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The attacks of the blocks that were computed, not taken up."""
    names: list[str] = []
    judge = audit_blocks.judge_attack

    def note(*given: Any, **rest: Any) -> Any:
        names.append(given[5].name)
        return judge(*given, **rest)

    monkeypatch.setattr(audit_blocks, "judge_attack", note)
    return names


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.2}, r"\(epsilon 0\.15 there, 0\.2 here\); choose another folder with --out"),
        ({"seed": 1}, r"seed 0 there, 1 here"),
        ({"block_size": 20}, "block_size 16 there, 20 here"),
        ({"limit": 30}, "samples 60 there, 30 here"),
        ({"data_record": {"split": "train"}}, "split test there, train here"),
        ({"model_record": {"normalize": "cifar10"}}, r"model [0-9a-f]{8} there, [0-9a-f]{8} here"),
    ],
)
def test_another_subject_is_refused_before_any_work(  # type: ignore[no-untyped-def]
    problem, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    given = {**QUICK, "data_record": {"name": "animals", "split": "test"}, "out": tmp_path}
    audit(problem.net, problem.images, problem.labels, **given)
    before = stamps(tmp_path)
    forwards: list[object] = []
    problem.net.register_forward_hook(lambda *_: forwards.append(1))
    with pytest.raises(InputError, match=message) as refusal:
        audit(problem.net, problem.images, problem.labels, **{**given, **change})
    assert str(tmp_path) in str(refusal.value)
    assert not forwards
    assert stamps(tmp_path) == before


def test_what_model_and_data_are_called_makes_no_difference(problem, tmp_path: Path, judged: list[str]) -> None:  # type: ignore[no-untyped-def]
    """As after the run's folder was renamed, moved or copied, or was audited as `.`; and so for the data's."""
    record = {"name": "tau0.5", "path": "best.pt", "sha256": "ab", "architecture": "hf:runs/old"}
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path / "old", model_record=record)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    judged.clear()
    result = audit(
        problem.net,
        problem.images,
        problem.labels,
        **QUICK,
        out=tmp_path / "new",
        model_record={"name": "", "path": "other.pt", "sha256": "ab", "architecture": "hf:runs/new"},
        data_record={"name": "plants"},
    )
    assert judged == []
    assert result.model["name"] == ""
    assert result.model["digest"] == AuditResult.read(tmp_path / "old").model["digest"]
    again = audit(
        problem.net, problem.images, problem.labels, **QUICK, out=tmp_path / "new", data_record={"name": "animals"},
        model_record=record,
    )  # fmt: skip
    assert judged == []
    assert again.data["name"] == "animals"


def test_data_of_another_name_and_other_images_is_refused_before_any_work(problem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path, data_record={"name": "animals"})
    forwards: list[object] = []
    problem.net.register_forward_hook(lambda *_: forwards.append(1))
    other = {"out": tmp_path, "data_record": {"name": "plants"}}
    with pytest.raises(InputError, match="animals there, plants here"):
        audit(problem.net, problem.images.roll(5, 0), problem.labels, **QUICK, **other)
    record = json.loads((tmp_path / "audit.json").read_text())
    del record["data"]["fingerprint"]  # of a version without: its name is all that is recorded
    (tmp_path / "audit.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="data animals there, plants here"):
        audit(problem.net, problem.images, problem.labels, **QUICK, **other)
    assert not forwards


def test_an_audit_of_a_version_whose_digest_included_the_name_is_taken_up(
    problem, tmp_path: Path, judged: list[str]
) -> None:  # type: ignore[no-untyped-def]
    """Its digest in `audit.json` and those of its blocks include the name."""
    former = "ab" * 32
    record: dict[str, Any] = {"name": "before", "sha256": "cd"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_prepare, "network_key", lambda model: former)
        audit(
            problem.net, problem.images, problem.labels, **{**QUICK, "attacks": "pgd2,cw2"}, out=tmp_path,
            model_record=record,
        )  # fmt: skip
    first = AuditResult.read(tmp_path)
    assert first.model["digest"] == former
    for name in ("after", "moved"):  # the second finds what the first kept again
        judged.clear()
        result = audit(
            problem.net, problem.images, problem.labels, **QUICK, out=tmp_path, model_record={**record, "name": name}
        )
        assert judged == []
        assert list(result.attacks) == ["clean", "pgd2", "cw2", "all"]
        assert np.array_equal(result.verdicts.predicted["cw2"], first.verdicts.predicted["cw2"])
        assert result.model["digest"] != former
    with pytest.raises(InputError, match="model"):
        audit(
            problem.net, problem.images, problem.labels, **QUICK, out=tmp_path,
            model_record={"name": "before", "sha256": "ef"},
        )  # fmt: skip


def test_so_are_other_weights_and_other_images(problem, tmp_path: Path, judged: list[str]) -> None:  # type: ignore[no-untyped-def]
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    before = stamps(tmp_path)
    judged.clear()
    with pytest.raises(InputError, match="images and labels"):
        audit(problem.net, problem.images.roll(5, 0), problem.labels, **QUICK, out=tmp_path)
    with torch.no_grad():
        problem.net[3].bias += 1e-6
    with pytest.raises(InputError, match="model"):
        audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    assert judged == []
    assert stamps(tmp_path) == before


def test_more_samples_replace_fewer(problem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A quick audit first, then the full one; the samples of the first are among those of the second."""
    few, some, full = (
        audit(problem.net, problem.images, problem.labels, **QUICK, limit=limit, out=tmp_path)
        for limit in (20, 40, None)
    )
    assert set(few.verdicts.index) < set(some.verdicts.index) < set(full.verdicts.index)
    assert AuditResult.read(tmp_path).data["n"] == 60


def test_other_samples_do_not_replace_it_though_they_are_more(problem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    audit(problem.net, problem.images[:40], problem.labels[:40], **QUICK, out=tmp_path)
    for images, labels in ((problem.images.flip(0), problem.labels), (problem.images, problem.labels.roll(1))):
        with pytest.raises(InputError, match="samples 40 there, 60 here"):
            audit(problem.net, images, labels, **QUICK, out=tmp_path)
    assert AuditResult.read(tmp_path).data["n"] == 40
    assert audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path).data["n"] == 60


def test_the_network_in_the_folder_replaces_an_earlier_one(  # type: ignore[no-untyped-def]
    problem, tmp_path: Path
) -> None:
    """A run was continued after it was audited."""

    def judged(content: bytes, where: Path = tmp_path) -> AuditResult:
        sha256 = hashlib.sha256(content).hexdigest()
        return audit(problem.net, problem.images, problem.labels, **QUICK, out=where, model_record={"sha256": sha256})

    (tmp_path / "best.pt").write_bytes(b"first")
    judged(b"first")
    with pytest.raises(InputError, match="different model"):
        judged(b"of elsewhere")
    (tmp_path / "best.pt").write_bytes(b"second")
    with pytest.raises(InputError, match="different model"):
        judged(b"of elsewhere")
    with pytest.raises(InputError, match="different model"):  # whether it is, is not known
        audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    assert judged(b"second").model["sha256"] == hashlib.sha256(b"second").hexdigest()
    assert AuditResult.read(tmp_path).model == judged(b"second").model


def test_attacks_of_earlier_calls_stay_at_no_cost(problem, tmp_path: Path, judged: list[str]) -> None:  # type: ignore[no-untyped-def]
    audit(problem.net, problem.images, problem.labels, **{**QUICK, "attacks": "pgd2,cw2"}, out=tmp_path)
    first = AuditResult.read(tmp_path)
    judged.clear()
    result = audit(problem.net, problem.images, problem.labels, **{**QUICK, "attacks": "pgd3"}, out=tmp_path)
    assert judged == ["pgd3"] * 4
    assert list(result.attacks) == ["clean", "pgd3", "pgd2", "cw2", "all"]
    for name in ("pgd2", "cw2"):
        assert np.array_equal(result.verdicts.predicted[name], first.verdicts.predicted[name])
    assert list(AuditResult.read(tmp_path).attacks) == list(result.attacks)


def test_an_attack_whose_blocks_are_gone_is_named(problem, tmp_path: Path, judged: list[str]) -> None:  # type: ignore[no-untyped-def]
    audit(problem.net, problem.images, problem.labels, **{**QUICK, "attacks": "pgd2,cw2"}, out=tmp_path)
    next((tmp_path / "blocks").glob("cw2-00003-*.npz")).unlink()
    judged.clear()
    result = audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    assert judged == []
    assert list(result.attacks) == ["clean", "pgd2", "all"]
    assert any("also ran cw2" in warning for warning in result.warnings)


def test_an_audit_that_cannot_be_read_is_replaced(problem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "audit.json").write_text("cut off")
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    assert list(AuditResult.read(tmp_path).attacks) == ["clean", "pgd2", "all"]


@pytest.mark.parametrize("way", ["run", "run/blocks"])
def test_a_file_in_the_way_is_reported_before_the_first_attack(
    problem, tmp_path: Path, judged: list[str], way: str
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / way).parent.mkdir(exist_ok=True)
    (tmp_path / way).write_text("a file")
    with pytest.raises(InputError, match=r"run.* cannot be written .*--out"):
        audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path / "run")
    assert judged == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("audit.json", b'{"auditReportVersion": 2}'),
        ("audit.json", b'{"schema": "faal-audit/99"}'),
        ("verdicts.npz", b"of another program"),
        ("examples.npz", None),
    ],
)
def test_files_that_are_of_no_audit_are_not_overwritten(  # type: ignore[no-untyped-def]
    problem, tmp_path: Path, judged: list[str], name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is None:
        np.savez(path, images=np.zeros(3))
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    for function, more in ((audit, {}), (audit_share, {"rank": 0, "world_size": 1})):
        with pytest.raises(InputError, match=rf"contains a {name} that .* not overwritten; choose another folder"):
            function(problem.net, problem.images, problem.labels, **QUICK, **more, out=tmp_path)
    assert judged == []
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_an_audit_that_was_killed_before_its_last_file_is_completed(problem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    (tmp_path / "audit.json").unlink()
    audit(problem.net, problem.images, problem.labels, **QUICK, out=tmp_path)
    assert (tmp_path / "audit.json").exists()
