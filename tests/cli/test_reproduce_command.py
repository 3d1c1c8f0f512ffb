"""`faal reproduce` on the command line: help, one sentence for invalid input, exit status."""

from pathlib import Path

import pytest
from tests.cli.conftest import Faal

from faal.study.reproduce import run

CASES = {
    "an unknown table": (["tabel2"], "did you mean 'table2'?"),
    "an unknown row": (["table2/fal-at"], "did you mean 'faal-at'?"),
    "an unknown row with no name like it": (["table2/xyz"], "pgd-at, trades, cfa-at"),
    "no data": (["table2", "--scale", "small"], "add --data cifar10:DIR"),
    "no data, for 100 classes": (["table3", "--scale", "paper"], "add --data cifar100:DIR"),
    "other data": (["table2", "--scale", "paper", "--data", "cifar100:x"], "is on cifar10, not on 'cifar100:x'"),
    "data that is not there": (["table2", "--scale", "paper", "--data", "cifar10:nowhere"], "nowhere"),
    "an unknown scale": (["table2", "--scale", "smal"], "did you mean 'small'?"),
    "an unknown protocol": (["table2", "--protocol", "honnest"], "did you mean 'honest'?"),
    "no seeds": (["table2", "--seeds", "0"], "--seeds is at least 1, not 0"),
    "no workers": (["table2", "--workers", "0"], "--workers is at least 1, not 0"),
    "a base without a file": (["table1", "--base", "trades"], "NAME=FILE"),
    "a base that is none": (["table1", "--base", "trade=x.pt"], "did you mean 'trades'?"),
    "a base that is not there": (["table1", "--base", "trades=x.pt:none"], "there is no file x.pt"),
    "a base where nothing is fine-tuned": (["table2", "--base", "trades=x.pt"], "leave out --base"),
    "another protocol in the folder": (["table2", "--out", "made", "--protocol", "published"], "'honest' there"),
    "a folder that cannot be written": (["table2/wat", "--out", "file/run"], "--out"),
    "nothing": ([], "WHAT"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_status_2(case: str, work: Path, faal: Faal) -> None:
    (work / "file").write_text("in the way")
    (work / "made" / "about").mkdir(parents=True)
    (work / "made" / "about" / "reproduction.json").write_text('{"scale": "tiny", "protocol": "honest"}')
    arguments, message = CASES[case]
    said = faal("reproduce", *arguments)
    assert said.status == 2
    assert message in said.err


def test_help_teaches(faal: Faal) -> None:
    out = faal("reproduce", "--help").out
    assert "faal reproduce table2 --scale small --data cifar10:DIR" in out
    assert all(option in out for option in ("--scale", "--seeds", "--protocol", "--workers", "--base", "--out"))


@pytest.mark.parametrize(("failed", "status"), [({}, 0), ({"train-x": "training diverged"}, 1)])
def test_failures_and_the_table_are_named(
    failed: dict[str, str], status: int, faal: Faal, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = {}

    def reproduce(what: str, **options: object) -> run.ReproduceResult:
        requested.update(options, what=what)
        return run.ReproduceResult(page=Path("here/table2.md"), failed=failed)

    monkeypatch.setattr(run, "reproduce", reproduce)
    arguments = ("--seeds", "3", "--base", "a=b", "--base", "c=d", "--model", "a=own:net", "--device", "cpu")
    said = faal("reproduce", "table2", *arguments)
    assert said.status == status
    assert "here/table2.md" in said.out
    assert ("train-x failed: training diverged" in said.err) == bool(failed)
    assert (requested["what"], requested["seeds"], requested["scale"], requested["protocol"]) == (
        "table2",
        3,
        "tiny",
        "honest",
    )
    assert list(requested["bases"]) == ["a=b", "c=d"]
    assert list(requested["models"]) == ["a=own:net"]


def test_theorem_1_needs_no_data(faal: Faal, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        run, "theorem1", lambda out, *, seeds: calls.append((out, list(seeds))) or [out / "theorem1.md"]
    )
    assert faal("reproduce", "theorem1", "--seeds", "2", "--device", "cpu").status == 0
    assert calls == [(Path("reproduce/tiny-honest"), [1, 2])]
