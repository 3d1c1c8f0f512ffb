"""The differences on a page are those of `faal compare`."""

from pathlib import Path

import pytest
from tests.helpers.comparisons import CLASSES, made

from faal.audit.comparison.compare import compare, comparison_of
from faal.report import write_report
from faal.report.files.changes import Changes

BEFORE = {"clean": [95, 95, 95], "pgd20": [80, 70, 30]}
AFTER = {
    "a gain and a loss": {"clean": [95, 95, 95], "pgd20": [60, 70, 60]},
    "little": {"clean": [95, 95, 95], "pgd20": [80, 71, 31]},
}


@pytest.mark.parametrize("after", AFTER.values(), ids=list(AFTER))
def test_each_value_is_that_of_the_comparison(after: dict[str, list[int]]) -> None:
    comparison = compare("a", [made(BEFORE)], "b", [made(after)])
    changes = Changes.of(comparison.to_json())
    for name, found in comparison.attacks.items():
        shown = changes.attacks[name]
        assert (shown.worst.value, shown.worst.low, shown.worst.high) == (
            found.worst.value, found.worst.low, found.worst.high
        )  # fmt: skip
        assert [each.established for each in shown.classes.values()] == [each.p < 0.05 for each in found.classes]
        assert shown.lost == [each.name for each in found.classes if each.p < 0.05 and each.value < 0]
    assert changes.conclusion == comparison.conclusion


@pytest.mark.medium
@pytest.mark.parametrize(
    ("after", "increased", "not_established"),
    [(AFTER["a gain and a loss"], True, 1), (AFTER["little"], False, len(CLASSES))],
    ids=list(AFTER),
)
def test_headline_and_column_of_the_page(
    tmp_path: Path, after: dict[str, list[int]], increased: bool, not_established: int
) -> None:
    folders = [tmp_path / "base", tmp_path / "repaired"]
    for folder, counts in zip(folders, (BEFORE, after), strict=True):
        made(counts).write(folder)
    page = write_report(folders, comparison=comparison_of(folders)).read_text()
    headline = page.split("<h1>")[1].split("</h1>")[0]
    assert ("increased" in headline) == increased
    assert ("ant" in headline.partition("established loss")[2]) == increased
    table = page.split("Accuracy per class, with intervals", 1)[1].split("</table>")[0]
    assert table.count("not established") == not_established


def test_audits_that_cannot_be_compared_have_no_comparison(tmp_path: Path) -> None:
    made(BEFORE).write(tmp_path / "a")
    made(BEFORE, threat={"norm": "l2", "epsilon": 0.5}).write(tmp_path / "b")
    assert comparison_of([tmp_path / "a"]) is None
    assert comparison_of([tmp_path / "a", tmp_path / "b"]) is None
