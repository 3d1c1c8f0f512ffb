import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.odd import replaced

from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import write_arrays
from faal.audit.run import audit
from faal.errors import InputError

CLASSES = ["ant", "bee", "cät", "d[o]g", "eel"]


@pytest.fixture
def result(problem) -> AuditResult:  # type: ignore[no-untyped-def]
    return audit(
        problem.net,
        problem.images,
        problem.labels,
        classes=CLASSES,
        attacks="pgd5,cw5",
        epsilon=0.15,
        data_record={"name": "prototypes", "split": "test"},
        model_record={"sha256": "abc", "file": Path("base") / "last.pt"},
    )


def test_audit_json_has_exactly_the_documented_keys(result: AuditResult, tmp_path) -> None:  # type: ignore[no-untyped-def]
    result.write(tmp_path)
    plain = json.loads((tmp_path / "audit.json").read_text())
    assert set(plain) == {
        *("schema", "model", "data", "threat", "seed", "engine", "block_size", "level", "interval_method"),
        *("warnings", "environment", "attacks", "groups", "probes"),
    }
    assert plain["schema"] == "faal-audit/1"
    assert len(plain["model"].pop("weights")) == 64
    assert len(plain["model"].pop("digest")) == len(plain["data"].pop("fingerprint")) == 64
    assert plain["model"] == {"name": "Sequential", "sha256": "abc", "file": "base/last.pt"}
    assert plain["data"] == {"name": "prototypes", "split": "test", "n": 60, "classes": CLASSES}
    assert plain["threat"] == {"norm": "linf", "epsilon": 0.15}
    assert list(plain["attacks"]) == ["clean", "pgd5", "cw5", "all"]
    for attack in plain["attacks"].values():
        assert set(attack) == {
            *("average", "balanced", "worst", "classes", "confusion", "parameters", "seconds"),
            *("worst_tenth", "gap", "deviation"),
        }
        assert set(attack["average"]) == set(attack["balanced"]) == set(attack["deviation"]) == {"value", "low", "high"}
        assert set(attack["gap"]) == {"best", "worst", "value", "low", "high"}
        assert attack["worst_tenth"] is None  # of 5 classes
        assert set(attack["worst"]) == {"class", "value", "low", "high"}
        assert {tuple(entry) for entry in attack["classes"]} == {("name", "n", "correct", "value", "low", "high")}
        assert [sum(row) for row in attack["confusion"]] == [12] * 5


def test_it_says_in_one_line_what_it_found(result: AuditResult) -> None:
    worst = result.attacks["cw5"].worst
    assert worst.value is not None
    assert "\n" not in repr(result)
    assert repr(result).startswith(
        "<AuditResult of Sequential, n = 60, linf epsilon 0.15; average (worst class) in %: cl"
    )
    average = 100 * result.attacks["cw5"].average.value  # type: ignore[operator]
    assert f", cw5 {average:.1f} ({worst.name} {100 * worst.value:.1f}), all " in repr(result)


def test_it_comes_back_from_its_files(result: AuditResult, tmp_path) -> None:  # type: ignore[no-untyped-def]
    result.write(tmp_path)
    back = AuditResult.read(tmp_path)
    assert back.to_json() == result.to_json()
    assert back.attacks == result.attacks
    assert result.examples is not None
    assert back.examples is not None
    for name, array in result.verdicts.arrays().items():
        assert np.array_equal(back.verdicts.arrays()[name], array)
    for name, array in result.examples.arrays().items():
        assert np.array_equal(back.examples.arrays()[name], array)
    assert back.classes == tuple(CLASSES)


def test_the_worst_tenth_of_many_classes_comes_back(problem_of, tmp_path) -> None:  # type: ignore[no-untyped-def]
    problem = problem_of(21, 63)
    found = audit(problem.net, problem.images, problem.labels, attacks="clean", out=tmp_path)
    plain = json.loads((tmp_path / "audit.json").read_text())["attacks"]["clean"]["worst_tenth"]
    assert set(plain) == {"classes", "value", "low", "high"}
    assert len(plain["classes"]) == 3
    assert AuditResult.read(tmp_path).attacks == found.attacks


def test_an_audit_of_an_earlier_version_is_read(result: AuditResult, tmp_path) -> None:  # type: ignore[no-untyped-def]
    result.write(tmp_path)
    plain = json.loads((tmp_path / "audit.json").read_text())
    for attack in plain["attacks"].values():
        for key in ("worst_tenth", "gap", "deviation"):
            del attack[key]
    (tmp_path / "audit.json").write_text(json.dumps(plain))
    back = AuditResult.read(tmp_path)
    assert back.attacks["all"].gap is None
    assert back.attacks["all"].worst == result.attacks["all"].worst


def test_examples_of_an_earlier_audit_do_not_stay(result: AuditResult, tmp_path) -> None:  # type: ignore[no-untyped-def]
    result.write(tmp_path)
    AuditResult(**{**vars(result), "examples": None}).write(tmp_path)
    assert AuditResult.read(tmp_path).examples is None


def test_a_class_without_samples_is_null_and_comes_back(problem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    some = problem.labels != 2
    found = audit(
        problem.net, problem.images[some], problem.labels[some], classes=CLASSES, attacks="clean", out=tmp_path
    )
    assert json.loads((tmp_path / "audit.json").read_text())["attacks"]["clean"]["classes"][2]["value"] is None
    assert AuditResult.read(tmp_path).attacks == found.attacks
    assert found.attacks["clean"].worst.name != CLASSES[2]


def test_what_is_no_audit_is_refused_in_words(result: AuditResult, tmp_path) -> None:  # type: ignore[no-untyped-def]
    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            AuditResult.read(tmp_path)

    path = tmp_path / "audit.json"
    refused("there is no audit in")
    path.write_text("[1, 2]")
    refused("the schema None")
    result.write(tmp_path)
    text = path.read_text()
    path.write_text(text[:300])
    refused("truncated or damaged")
    path.write_text(text.replace("faal-audit/1", "faal-audit/9"))
    refused("'faal-audit/9', not 'faal-audit/1'")
    path.write_text(text.replace('"balanced"', '"balance"'))
    refused("incomplete or damaged.*balanced")
    path.write_text(text.replace('"n": 60', '"n": 61'))
    refused("of different audits")
    path.write_text(text)
    (tmp_path / "verdicts.npz").unlink()
    refused("there is no .*verdicts.npz")


@pytest.mark.medium
def test_any_value_may_be_of_another_kind(result: AuditResult, tmp_path: Path) -> None:
    result.write(tmp_path)
    file = tmp_path / "audit.json"
    for place, content in replaced(json.loads(file.read_text()), frozenset({"attacks", "groups", "packages"})):
        file.write_text(json.dumps(content))
        try:
            AuditResult.read(tmp_path)
        except InputError:
            continue
        except Exception as error:
            pytest.fail(f"{place}: {error!r}")


def test_a_folder_that_cannot_be_written_is_said(result: AuditResult, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        result.write(tmp_path / "file")


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a count": lambda plain: plain["attacks"]["pgd5"]["classes"][1].update(n=13),
    "an average": lambda plain: plain["attacks"]["all"]["average"].update(value=0.5),
    "an interval": lambda plain: plain["attacks"]["cw5"]["worst"].update(low=0.999),
    "a confusion": lambda plain: plain["attacks"]["cw5"]["confusion"][2].reverse(),
    "two classes": lambda plain: plain["attacks"]["pgd5"]["classes"].reverse(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_accuracy_that_does_not_follow_from_the_verdicts(result: AuditResult, tmp_path: Path, change: Any) -> None:
    result.write(tmp_path)
    path = tmp_path / "audit.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(InputError, match=r"disagree|is incomplete or damaged") as caught:
        AuditResult.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_verdicts_of_another_audit(result: AuditResult, tmp_path: Path) -> None:
    """Of the same attacks and samples, with one sample predicted as another class."""
    result.write(tmp_path)
    predicted = {name: array.copy() for name, array in result.verdicts.predicted.items()}
    predicted["pgd5"][7] = (predicted["pgd5"][7] + 1) % 5
    write_arrays(tmp_path / "verdicts.npz", replace(result.verdicts, predicted=predicted).arrays())
    with pytest.raises(InputError, match="disagree"):
        AuditResult.read(tmp_path)


def test_counts_of_groups_follow_from_the_verdicts(problem: Any, tmp_path: Path) -> None:
    groups = {"side": ["left", "right"] * 30}
    audit(problem.net, problem.images, problem.labels, attacks="pgd5", epsilon=0.15, groups=groups, out=tmp_path)
    AuditResult.read(tmp_path)
    plain = json.loads((tmp_path / "audit.json").read_text())
    plain["groups"]["side"]["pgd5"]["classes"].reverse()
    (tmp_path / "audit.json").write_text(json.dumps(plain))
    with pytest.raises(InputError, match=r"disagree .*samples of right"):
        AuditResult.read(tmp_path)
