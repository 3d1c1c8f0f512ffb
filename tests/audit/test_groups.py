"""The audit by groups other than the classes."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest
from tests.helpers.problems import Problem

from faal.audit import audit, table
from faal.audit.records.result import AuditResult
from faal.audit.statistics.intervals import worst_class_interval
from faal.data import grouping
from faal.errors import InputError


def cameras(n: int) -> list[str]:
    return ["north" if place % 3 else "south" for place in range(n)]


def test_figures_are_those_of_each_groups_samples(problem: Problem) -> None:
    n = len(problem.labels)
    result = audit(
        problem.net, problem.images, problem.labels, attacks="pgd5", epsilon=0.15, groups={"camera": cameras(n)}
    )
    right = result.verdicts.correct("pgd5")
    south = np.array(cameras(n)) == "south"
    found = result.groups["camera"]["pgd5"]
    north_entry, south_entry = found.classes
    assert (north_entry.name, south_entry.name) == ("north", "south")
    assert (south_entry.n, south_entry.correct) == (south.sum(), right[south].sum())
    assert (north_entry.n, north_entry.correct) == ((~south).sum(), right[~south].sum())
    exact = binomtest(int(right[south].sum()), int(south.sum())).proportion_ci(0.95, method="exact")
    assert (south_entry.low, south_entry.high) == pytest.approx((exact.low, exact.high))
    counts = [int(right[~south].sum()), int(right[south].sum())]
    assert (found.worst.low, found.worst.high) == worst_class_interval(counts, [north_entry.n, south_entry.n], 0.95)
    assert found.average.value == result.attacks["pgd5"].average.value
    assert set(result.groups["camera"]) == set(result.attacks)


def test_a_limit_takes_the_groups_of_the_samples_it_takes(problem: Problem) -> None:
    n = len(problem.labels)
    groups = [grouping("camera", cameras(n)), grouping("site", [str(place % 4) for place in range(n)])]
    result = audit(problem.net, problem.images, problem.labels, attacks="clean", limit=25, groups=groups)
    for each in groups:
        counts = np.bincount(each.index.numpy()[result.verdicts.index], minlength=len(each.names))
        assert [entry.n for entry in result.groups[each.name]["clean"].classes] == counts.tolist()


def test_two_groupings_of_one_name_are_refused(problem: Problem) -> None:
    n = len(problem.labels)
    groups = [grouping("site", cameras(n)), grouping("site", [str(place % 4) for place in range(n)])]
    with pytest.raises(InputError, match="two groupings are named 'site'"):
        audit(problem.net, problem.images, problem.labels, attacks="clean", groups=groups)


def test_they_change_no_verdict_and_come_back_from_disk(problem: Problem, tmp_path: Path) -> None:
    n = len(problem.labels)
    plain = audit(problem.net, problem.images, problem.labels, attacks="pgd5", epsilon=0.15, out=tmp_path)
    again = audit(
        problem.net, problem.images, problem.labels, attacks="pgd5", epsilon=0.15, out=tmp_path,
        groups={"camera": cameras(n)},
    )  # fmt: skip
    assert np.array_equal(plain.verdicts.predicted["pgd5"], again.verdicts.predicted["pgd5"])
    back = AuditResult.read(tmp_path)
    assert back.groups == again.groups
    assert back.verdicts.groups["camera"].tolist() == grouping("camera", cameras(n)).index.tolist()
    assert plain.groups == {}


def test_the_terminal_shows_them(problem: Problem) -> None:
    result = audit(
        problem.net, problem.images, problem.labels, attacks="clean",
        groups={"camera": cameras(len(problem.labels))},
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(table(result))
    text = console.export_text()
    assert "Accuracy by camera in %" in text
    assert "south" in text


def test_not_as_many_groups_as_samples(problem: Problem) -> None:
    with pytest.raises(InputError, match=r"60 images and 3 groups in 'camera'"):
        audit(problem.net, problem.images, problem.labels, groups={"camera": ["a", "b", "a"]})
