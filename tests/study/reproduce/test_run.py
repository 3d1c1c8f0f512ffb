"""A toy table end to end: files, forks, resumption, failures, several workers, published bases."""

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from faal import checkpoint
from faal.audit import AuditResult
from faal.data import load_data
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model, zoo
from faal.study.reproduce import run as reproduce_run
from faal.study.reproduce.output.progress import ProgressReporter
from faal.study.reproduce.results import read_record, record_path, records_of
from faal.study.reproduce.rows import Row, TableSpec
from faal.study.reproduce.run import ReproduceResult, reproduce
from faal.study.reproduce.scales import SCALES
from faal.study.reproduce.tables import TABLES
from faal.study.reproduce.workers import job
from faal.study.zoo import publish
from faal.train.log import Log

CPU = torch.device("cpu")

TOY = TableSpec(
    name="toy",
    title="Toy",
    data="cifar10",
    model="prn18",
    attacks=("clean", "autoattack"),
    rows=(
        Row(name="pgd-at", label="PGD-AT", method="pgd-at", paper={"clean": (80.0, 60.0)}),
        Row(name="pgd-at--faal-at", label="+ FAAL", method="faal-at", start="pgd-at"),
        # Acts from the third of four epochs on: until then its run is that of PGD-AT.
        Row(
            name="cfa-at",
            label="CFA",
            method="cfa-at",
            settings={"constants": {"start": 0.75}, "average": "none"},
        ),
    ),
)


@pytest.fixture(autouse=True, scope="module")
def toy() -> Iterator[None]:
    """The toy table, at a scale of seconds."""
    tiny = dataclasses.replace(
        SCALES["tiny"],
        attacks=("clean", "pgd2"),
        limit=100,
        scratch={"epochs": 4, "width": 4, "steps": 1},
        repair={"steps": 1},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, "toy", TOY)
        patch.setitem(SCALES, "tiny", tiny)
        yield


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy table, made without interruption."""
    out = tmp_path_factory.mktemp("unbroken")
    assert make(out).failed == {}
    return out


def make(out: Path, what: str = "toy", **options: Any) -> ReproduceResult:
    return reproduce(what, **{"out": out, "workers": 1, "device": CPU} | options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoint.load(folder / "best.pt")["weights"]
    return found


def same(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def runs(out: Path) -> Path:
    return out / "runs" / "digits-small"


def content(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (*out.rglob("*.pt"), *(out / "results").rglob("*.json"))}


@pytest.mark.medium
def test_a_table_end_to_end(unbroken: Path) -> None:
    records = records_of(unbroken, TOY)
    assert [record.row for record in records] == ["pgd-at", "pgd-at--faal-at", "cfa-at"]
    for record in records:
        result = AuditResult.read(runs(unbroken) / record.row / "seed-1")
        for name, figures in record.attacks.items():
            verdicts = result.verdicts.correct(name)
            assert figures["average"] == pytest.approx(verdicts.mean())
            per_class = [verdicts[result.verdicts.label == c].mean() for c in range(10)]
            assert figures["classes"] == pytest.approx(per_class)
            assert figures["worst"] == pytest.approx(min(per_class))
            assert figures["classes"][result.classes.index(figures["worst_class"])] == figures["worst"]
        assert set(record.attacks) == {"clean", "pgd2", "all"}
        assert (record.what, record.seed, record.scale, record.protocol, record.n) == ("toy", 1, "tiny", "honest", 100)
        assert record.seconds_per_epoch is not None
        assert record.seconds_per_epoch > 0
        assert "command" not in record.environment
        assert str(unbroken) not in json.dumps(dataclasses.asdict(record))
    assert [record.epochs for record in records] == [4, 2, 4]
    assert all((unbroken / f"toy.{ending}").exists() for ending in ("md", "csv", "tex", "html"))
    assert list((unbroken / "claims").iterdir()) == []

    before = content(unbroken)
    done = make(unbroken)
    assert done.failed == {}
    assert "| PGD-AT | 4 |" in done.page.read_text()
    assert content(unbroken) == before


@pytest.mark.medium
def test_a_forked_run_is_the_run_that_was_not_forked(unbroken: Path, tmp_path: Path) -> None:
    make(tmp_path, "toy/cfa-at")
    assert not (runs(tmp_path) / "pgd-at").exists()
    one, two = (runs(out) / "cfa-at" / "seed-1" for out in (unbroken, tmp_path))
    assert json.loads((one / "trained.json").read_text())["from"] == 2
    assert json.loads((two / "trained.json").read_text())["from"] == 0
    assert same(one, two)
    assert not same(one, runs(unbroken) / "pgd-at" / "seed-1")
    notes = read_record(record_path(unbroken, "toy", "cfa-at", 1)).note
    assert any("Up to epoch 2 it is the run of the plain method" in note for note in notes)


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Let a function's `call`-th call be interrupted, as by a user."""
    real, count = getattr(owner, name), iter(range(1, 10_000))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(count) == call:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.medium
@pytest.mark.parametrize("call", [2, 6, 8])
def test_stopped_anywhere_it_continues_to_the_same_networks(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """After so many epochs: within the base, the fine-tune or the fork."""
    with monkeypatch.context() as patch:
        interrupt(patch, Log, "epoch", call)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    assert list((tmp_path / "claims").iterdir()) == []
    assert make(tmp_path).failed == {}
    for row in TOY.rows:
        assert same(*(runs(out) / row.name / "seed-1" for out in (unbroken, tmp_path)))
    one, two = (records_of(out, TOY) for out in (unbroken, tmp_path))
    assert [record.attacks for record in one] == [record.attacks for record in two]


def failing(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    real: Callable[..., Any] = job.train

    def train(net: Any, architecture: Any, data: Any, recipe: Any, **options: Any) -> Any:
        if recipe.method == method:
            raise error
        return real(net, architecture, data, recipe, **options)

    monkeypatch.setattr(job, "train", train)


@pytest.mark.medium
def test_a_row_that_fails_stops_what_starts_from_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, "pgd-at", InputError("training diverged"))
        done = make(tmp_path)
    assert done.failed == {"train-digits-small-pgd-at-seed-1": "training diverged"}
    # The run that CFA forks from failed, so CFA is trained alone.
    assert [record.row for record in records_of(tmp_path, TOY)] == ["cfa-at"]
    assert make(tmp_path).failed == {}
    assert len(records_of(tmp_path, TOY)) == 3


def test_an_error_in_the_program_is_recorded_with_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, "cfa-at", ZeroDivisionError("oops"))
    done = make(tmp_path, "toy/cfa-at")
    assert done.failed == {"train-digits-small-cfa-at-seed-1": "ZeroDivisionError: oops"}
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_and_one_that_is_killed(unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other takes over the locks of the killed one; the networks are those of one worker."""
    real, killed = ProgressReporter.update, []

    def update(progress: ProgressReporter) -> None:
        holding = [json.loads(path.read_text() or "{}") for path in (tmp_path / "claims").glob("train-*.0")]
        holding = [each["process"] for each in holding if each]
        if holding and not killed:
            killed.append(holding[0])
            os.kill(holding[0], signal.SIGKILL)
        real(progress)

    monkeypatch.setattr(ProgressReporter, "update", update)
    done = make(tmp_path, workers=2)
    assert killed
    assert done.failed == {}
    assert multiprocessing.active_children() == []
    for row in TOY.rows:
        assert same(*(runs(out) / row.name / "seed-1" for out in (unbroken, tmp_path)))
    assert {record.workers for record in records_of(tmp_path, TOY)} == {2}


@pytest.mark.medium
def test_seeds_are_different_networks(tmp_path: Path) -> None:
    make(tmp_path, "toy/pgd-at", seeds=2)
    assert [record.seed for record in records_of(tmp_path, TOY)] == [1, 2]
    assert not same(*(runs(tmp_path) / "pgd-at" / f"seed-{seed}" for seed in (1, 2)))


def test_a_folder_is_for_one_scale_protocol_recipe_and_data(unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="protocol 'honest' there, 'published' here"):
        make(unbroken, "toy/pgd-at", protocol="published")
    other = dataclasses.replace(TOY.rows[0], settings={"weight_decay": 0.1})
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "toy", dataclasses.replace(TOY, rows=(other,)))
        with pytest.raises(InputError, match=r"pgd-at: weight_decay 0\.0005 there, 0\.1 here"):
            make(unbroken, "toy/pgd-at")
    data = job.data_of("digits")
    fewer = dataclasses.replace(data, test=data.test.take(torch.arange(200)))
    monkeypatch.setattr(reproduce_run, "data_of", lambda spec: fewer)
    with pytest.raises(InputError, match="test images"):
        make(unbroken, "toy/pgd-at")


@pytest.mark.medium
@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
def test_a_published_checkpoint_replaces_a_base(unbroken: Path, tmp_path: Path, foreign: bool) -> None:
    path = runs(unbroken) / "pgd-at" / "seed-1" / "best.pt"
    if foreign:
        torch.save(weights(path.parent), tmp_path / "weights.pt")
        path = tmp_path / "weights.pt"
    out = tmp_path / "out"
    assert make(out, bases=[f"pgd-at={path}:none"], seeds=2).failed == {}
    records = records_of(out, TOY)
    assert [(record.row, record.seed) for record in records] == [
        ("pgd-at", 1), ("pgd-at--faal-at", 1), ("pgd-at--faal-at", 2), ("cfa-at", 1), ("cfa-at", 2),
    ]  # fmt: skip
    base = records[0]
    assert (base.epochs, base.seconds_per_epoch) == (0, None)
    assert any(path.name in note and "not trained here" in note for note in base.note)
    assert same(runs(out) / "pgd-at" / "given", runs(unbroken) / "pgd-at" / "seed-1")
    # Evaluated under the threat of its row, since that of foreign weights is unknown.
    assert base.attacks == read_record(record_path(unbroken, "toy", "pgd-at", 1)).attacks
    with pytest.raises(InputError, match="base pgd-at"):
        make(out)


@pytest.mark.medium
def test_a_base_from_the_zoo(unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = runs(unbroken) / "pgd-at" / "seed-1"
    publish(base, "toy", load_data("digits"), source="-", folder=tmp_path / "zoo", device=CPU)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    out = tmp_path / "out"
    assert make(out, "toy/pgd-at--faal-at", bases=["pgd-at=zoo:toy"]).failed == {}
    given = weights(runs(out) / "pgd-at" / "given")
    for name, tensor in weights(base).items():
        assert torch.allclose(given[name], tensor, rtol=1e-3, atol=1e-6), name
    assert not same(runs(out) / "pgd-at" / "given", runs(out) / "pgd-at--faal-at" / "seed-1")


def test_the_withheld_images_of_a_published_base_are_recorded(tmp_path: Path) -> None:
    """So that its repairs know which images it was not trained on."""
    architecture = Architecture(model="small", num_classes=10, channels=1, width=4)
    state = {
        "architecture": dataclasses.asdict(architecture), "classes": [str(c) for c in range(10)],
        "weights": build_model(architecture, seed=1).state_dict(), "recipe": {"epsilon": 0.1},
        "held_out": {"withheld": ["a part"]},
    }  # fmt: skip
    checkpoint.save(tmp_path / "base.pt", state)
    assert make(tmp_path / "out", "toy/pgd-at", bases=[f"pgd-at={tmp_path / 'base.pt'}"]).failed == {}
    (base,) = records_of(tmp_path / "out", TOY)
    assert any(
        "trained against linf epsilon 0.1 and is evaluated against linf epsilon 0.2" in note for note in base.note
    )
    opened = open_model(runs(tmp_path / "out") / "pgd-at" / "given", load_data("digits"))
    assert opened.record["withheld"] == ["a part"]


@pytest.mark.medium
def test_a_base_of_ones_own_code_is_imported_where_the_call_names_it(
    unbroken: Path, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every work item: it is imported, audited, fine-tuned, and the fine-tune is audited."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(work))])
    (work / "evilbase.py").write_text(
        "from pathlib import Path\nfrom faal.models import Architecture, build_model\nPath('imported').touch()\n"
        "def build(): return build_model(Architecture(model='small', num_classes=10, channels=1, width=4))\n"
    )
    state = checkpoint.load(runs(unbroken) / "pgd-at" / "seed-1" / "best.pt")
    own = {**state["architecture"], "model": "evilbase:build", "width": None, "depth": None}
    checkpoint.save(tmp_path / "base.pt", {**state, "architecture": own})
    bases, what, out = [f"pgd-at={tmp_path / 'base.pt'}"], "toy/pgd-at--faal-at", tmp_path / "out"
    with pytest.raises(InputError, match="--model evilbase:build"):
        make(out, what, bases=bases)
    assert not (work / "imported").exists()
    with pytest.raises(InputError, match="--model is NAME=MODEL"):
        make(out, what, bases=bases, models=["trades=evilbase:build"])
    assert make(out, what, bases=bases, models=["evilbase:build"]).failed == {}
    assert make(out, "toy/pgd-at", bases=bases, models=["pgd-at=evilbase:build"]).failed == {}
    sys.modules.pop("evilbase")
    (work / "imported").unlink()
    for record in (out / "results").rglob("*.json"):
        record.unlink()
    assert len(make(out, "toy", bases=bases).failed) == 2  # a folder that has imported it is no better
    assert not (work / "imported").exists()


def test_an_invalid_base(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"<html>")
    for text, message in (
        ("x.pt", "NAME=FILE"),
        (f"pgd={tmp_path}/x.pt", "did you mean 'pgd-at'"),
        (f"pgd-at={tmp_path}/y.pt", "there is no file"),
        ("pgd-at=zoo:prn18w16-pgdat", "did you mean 'prn18w16-pgd-at'"),
        (f"pgd-at={tmp_path}/x.pt", "web page"),
    ):
        with pytest.raises(InputError, match=message):
            make(tmp_path / "out", bases=[text])
    with pytest.raises(InputError, match="--base names pgd-at twice"):
        make(tmp_path / "out", bases=[f"pgd-at={tmp_path}/x.pt", "pgd-at=zoo:prn18w16-pgd-at"])
    with pytest.raises(InputError, match="leave out --base"):
        make(tmp_path / "out", "table2", bases=["pgd-at=x.pt"])
