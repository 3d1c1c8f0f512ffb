"""The rows against the paper's structure, and the lookup of names from the command line."""

import re

import pytest

from faal.errors import InputError
from faal.methods import METHODS
from faal.study.reproduce import paper
from faal.study.reproduce.scales import SCALES, setting_of
from faal.study.reproduce.table4.timing import ROWS
from faal.study.reproduce.tables import TABLE1, TABLE2, TABLE3, TABLES, find

EVERY_ROW = [pytest.param(table, row, id=f"{table.name}/{row.name}") for table in TABLES.values() for row in table.rows]


@pytest.mark.parametrize(("table", "row"), EVERY_ROW)
def test_a_rows_name_states_method_and_base(table, row) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", row.name)
    assert row.method in METHODS
    if row.start is None:
        assert row.name == row.method
    else:
        base, _, arm = row.name.partition("--")
        assert base == row.start
        assert table.row(base).start is None
        assert arm.startswith(row.method)
        assert table.rows.index(table.row(base)) < table.rows.index(row)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_names_are_unique_and_figures_are_complete(table) -> None:
    assert len({row.name for row in table.rows}) == len(table.rows)
    for row in table.rows:
        if table.name not in ("figure1", "methods") and not row.name.endswith("offsets"):
            assert set(row.paper) >= set(table.attacks)
        for average, worst in row.paper.values():
            assert 0 < worst < average < 100


def test_every_printed_row_is_present_and_no_other() -> None:
    for table, printed in ((TABLE1, paper.TABLE1), (TABLE2, paper.TABLE2), (TABLE3, paper.TABLE3)):
        of_the_paper = [row for row in table.rows if not row.name.endswith("offsets")]
        assert [row.name for row in of_the_paper] == list(printed)
        assert [row.paper for row in of_the_paper] == list(printed.values())
    assert (len(paper.TABLE1), len(paper.TABLE2), len(paper.TABLE3)) == (20, 7, 10)


def test_figures_that_the_text_of_the_paper_quotes() -> None:
    """FAAL_AT lifts the worst class under AutoAttack by about 2.6 points over the better FRL, but for TRADES."""
    gains = {}
    for base in ("pgd-at", "trades", "mart", "trades-awp"):
        worst = {arm: TABLE1.row(f"{base}--{arm}").paper["autoattack"][1] for arm in
                 ("frl-rwrm-0.05", "frl-rwrm-0.07", "faal-at")}  # fmt: skip
        gains[base] = worst["faal-at"] - max(worst["frl-rwrm-0.05"], worst["frl-rwrm-0.07"])
    assert gains["pgd-at"] == pytest.approx(2.6)
    assert (gains["mart"] + gains["trades-awp"]) / 2 == pytest.approx(2.15)
    assert abs(gains["trades"]) < 0.2


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_base_of_fine_tunes_has_offsets_too(table) -> None:
    """Alone and on top of FAAL; the paper has neither."""
    for base in {row.start for row in table.rows if row.start is not None}:
        alone = table.row(f"{base}--offsets")
        assert (alone.method, alone.settings, alone.paper) == ("offsets", {}, {})
        if table.name != "methods":
            assert table.row(f"{base}--faal-at-offsets").method == "faal-at"
            assert table.row(f"{base}--faal-at-offsets").settings == {"offsets": True}


def test_the_tolerances_of_frl() -> None:
    found = {row.name.rpartition("-")[2]: row.settings["constants"]["tolerance"] for row in TABLE1.rows
             if row.method == "frl-rwrm"}  # fmt: skip
    assert found == {"0.05": 0.05, "0.07": 0.07}


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
def test_rows_that_share_a_run_are_the_same(scale) -> None:
    """One folder per setting and name: two tables may not mean two things by it."""
    shared: dict[tuple[str, str], tuple[object, ...]] = {}
    for table in TABLES.values():
        for row in table.rows:
            meant = (row.method, row.start, dict(row.settings))
            assert shared.setdefault((setting_of(table, scale), row.name), meant) == meant


def test_the_method_table_agrees_with_the_papers_properties() -> None:
    for row in ROWS:
        kind = METHODS[row.method]
        assert (kind.level, kind.adversary_free, kind.steers) == paper.PROPERTIES[row.method]
    assert list(paper.TABLE4) == [row.method for row in ROWS]


@pytest.mark.parametrize(
    ("what", "table", "rows"),
    [
        ("table2", "table2", 7),
        ("figure2", "figure2", 7),
        ("table3/trades--offsets", "table3", ["trades--offsets"]),
        ("offsets", "table1", ["pgd-at--offsets"]),
        ("table2/faal-at", "table2", ["faal-at"]),
        ("table3/trades--faal-at-awp", "table3", ["trades--faal-at-awp"]),
        ("faal-at", "table2", ["faal-at"]),
        ("pgd-at", "table1", ["pgd-at"]),
        ("mart--faal-at", "table1", ["mart--faal-at"]),
        ("frl-rwrm", "table1", ["pgd-at--frl-rwrm-0.05"]),
        ("standard", "figure1", ["standard"]),
    ],
)
def test_find(what: str, table: str, rows: int | list[str]) -> None:
    found, chosen = find(what)
    assert found.name == table
    assert rows in (len(chosen), [row.name for row in chosen])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("tabel2", "did you mean 'table2'"),
        ("table2/fal-at", "did you mean 'faal-at'"),
        ("table9/faal-at", "did you mean 'table"),
        ("faal-trade", "did you mean 'faal-trades'"),
        ("theorem2", "did you mean 'theorem1'"),
    ],
)
def test_an_unknown_name(what: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(what)
