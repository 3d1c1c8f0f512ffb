"""The tables of a reproduction, read back from every format and compared with independent means."""

import csv
import dataclasses
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from tests.report.reader import read

from faal.errors import InputError
from faal.report.elements import text_cell
from faal.study.reproduce.output.formats import Column, TableContent, latex, markdown
from faal.study.reproduce.output.write import write_table
from faal.study.reproduce.results import record_or_check
from faal.study.reproduce.rows import Cost, Record, Row, TableSpec
from faal.study.reproduce.table4.output import write_costs

TABLE = TableSpec(
    name="table9",
    title="A table with 5 % & more_of {it}",
    data="cifar10",
    model="prn18",
    attacks=("clean", "autoattack"),
    rows=(
        Row(
            name="base", label="A_B | 50 % <x>", method="trades", paper={"clean": (84.92, 67), "autoattack": (52.5, 23)}
        ),
        Row(
            name="base--tuned",
            label="+ Fine-tune & co",
            method="faal-at",
            start="base",
            paper={"clean": (85.96, 75), "autoattack": (50.91, 35.3)},
        ),
        Row(name="other", label="Other", method="wat", paper={"autoattack": (46.16, 30.7)}),
        Row(name="late", label="Late", method="mart"),
    ),
)
MEASURED = ("clean", "pgd20", "cw20", "all")
FIGURES = {
    "base": [(0.81234, 0.5), (0.83, 0.52), (0.805, 0.47)],
    "base--tuned": [(0.8, 0.61), (0.79, 0.64), (0.81, 0.6)],
    "other": [(0.7, 0.3)],
}
"""Row -> (average, worst) of its seeds without attack; every further attack costs a tenth."""


def record(row: str, seed: int, **changes: Any) -> Record:
    """The record of a seed of a row of `FIGURES`, with some fields replaced."""
    average, worst = FIGURES[row][seed - 1]
    attacks = {
        attack: {"average": average - i / 10, "worst": worst - i / 10, "worst_class": f"c{seed}", "classes": [worst]}
        for i, attack in enumerate(MEASURED)
    }
    fields: dict[str, Any] = {
        "what": TABLE.name,
        "row": row,
        "seed": seed,
        "scale": "small",
        "protocol": "honest",
        "method": TABLE.row(row).method,
        "epochs": 6,
        "seconds_per_epoch": 10.5 + seed,
        "workers": 2,
        "attacks": attacks,
        "n": 2000,
        "note": ["Everybody's note"] + ["The tuned one's note."] * (row == "base--tuned"),
        "commit": "abc123",
        "environment": {"processor": "Some CPU, 2 cores", "device": "cpu", "packages": {"torch": "2.9.0"}},
    }
    return Record(**(fields | changes))


def records() -> list[Record]:
    return [record(row, seed) for row, figures in FIGURES.items() for seed in range(len(figures), 0, -1)]


def expected(row: str, attack: str) -> str:
    """The text of a cell, by the statistics module."""
    parts = []
    for field in (0, 1):
        values = [100 * (figures[field] - MEASURED.index(attack) / 10) for figures in FIGURES[row]]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        parts.append(f"{statistics.mean(values):.1f}{spread}")
    return f"{parts[0]} ({parts[1]})"


HEAD = [
    "Model",
    "Epochs",
    "No attack, measured",
    "No attack, paper",
    "PGD-20, measured",
    "CW-20, measured",
    "All attacks together, measured",
    "AutoAttack, paper",
    "Seconds per epoch",
    "Finished",
]


def body(late: str = "0 of 3 seeds") -> list[list[str]]:
    """The cells in every format, without the first column."""
    own = {row: [expected(row, attack) for attack in MEASURED] for row in FIGURES}
    base, tuned, other = own["base"], own["base--tuned"], own["other"]
    return [
        ["6", base[0], "84.92 (67.00)", *base[1:], "52.50 (23.00)", "12.5 ± 1.0", "3 of 3 seeds"],
        ["6", tuned[0], "85.96 (75.00)", *tuned[1:], "50.91 (35.30)", "12.5 ± 1.0", "3 of 3 seeds"],
        ["6", other[0], "–", *other[1:], "46.16 (30.70)", "11.5", "1 of 3 seeds"],
        ["–", "–", "–", "–", "–", "–", "–", "–", late],
    ]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    paths = write_table(tmp_path, TABLE, records(), scale="small", protocol="honest")
    assert [path.name for path in paths] == [f"table9.{ending}" for ending in ("md", "csv", "tex", "html")]
    return tmp_path


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def piped(path: Path) -> list[list[str]]:
    """The cells of a Markdown table."""
    lines = [line for line in lines_of(path) if line.startswith("|")]
    return [[cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown(written: Path) -> None:
    head, rule, *rows = [[cell.strip() for cell in row] for row in piped(written / "table9.md")]
    assert head == HEAD
    assert rule == ["---"] + 9 * ["---:"]
    assert [row[1:] for row in rows] == body()
    assert [row[0] for row in rows] == ["A_B | 50 % <x>", "+ Fine-tune & co, on A_B | 50 % <x>", "Other", "Late"]
    text = (written / "table9.md").read_text(encoding="utf-8")
    assert "not comparable with the measured ones, which are at scale small" in text
    assert "Table 9, scale small, protocol honest. 2 of 4 rows have all their seeds (3)." in text
    assert "AutoAttack takes too long on a CPU" in text
    assert "- Everybody's note.\n" in text
    assert "- base--tuned: The tuned one's note.\n" in text
    assert "- Evaluated on 2,000 test images." in text
    assert "Up to 2 networks were trained in parallel" in text
    assert "- Commit abc123; Some CPU, 2 cores, PyTorch 2.9.0." in text


def test_csv_has_the_unrounded_figures(written: Path) -> None:
    rows = {row["row"]: row for row in csv.DictReader(lines_of(written / "table9.csv"))}
    assert list(rows) == [row.name for row in TABLE.rows]
    for name, figures in FIGURES.items():
        for i, attack in enumerate(MEASURED):
            for field, values in zip(("average", "worst"), zip(*figures, strict=True), strict=True):
                shifted = [100 * (value - i / 10) for value in values]
                assert float(rows[name][f"{attack}_{field}"]) == pytest.approx(statistics.mean(shifted))
                deviation = rows[name][f"{attack}_{field}_std"]
                if len(shifted) > 1:
                    assert float(deviation) == pytest.approx(statistics.stdev(shifted))
                else:
                    assert deviation == ""
    assert rows["base"]["label"] == "A_B | 50 % <x>"
    assert rows["base--tuned"]["start"] == "base"
    assert rows["base--tuned"]["clean_worst_classes"] == "c1; c2; c3"
    assert float(rows["base--tuned"]["autoattack_worst_paper"]) == 35.3
    assert rows["other"]["clean_average_paper"] == ""
    assert (rows["base"]["seeds"], rows["late"]["seeds"]) == ("1 2 3", "")
    late = rows["late"]
    assert (late["seeds_finished"], late["seeds_wanted"], late["clean_average"]) == ("0", "3", "")


PRINTED = {r"\_": "_", r"\&": "&", r"\%": "%", r"\{": "{", r"\}": "}", r"\textless{}": "<", r"\textgreater{}": ">",
           r"$\pm$": "±", "--": "–", "~": " "}  # fmt: skip


def cells_of_latex(line: str) -> list[str]:
    assert line.endswith(r" \\")
    cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
    for escaped, sign in PRINTED.items():
        cells = [cell.replace(escaped, sign) for cell in cells]
    return [cell.strip() for cell in cells]


def test_latex(written: Path) -> None:
    lines = lines_of(written / "table9.tex")
    comments = [line for line in lines if line.startswith("%")]
    table = lines[len(comments) :]
    assert r"% Needs \usepackage{booktabs}." in comments
    assert (table[0], table[-1]) == (r"\begin{tabular}{l" + 9 * "r" + "}", r"\end{tabular}")
    assert [line for line in table if line in (r"\toprule", r"\midrule", r"\bottomrule", r"\addlinespace")] == [
        r"\toprule",
        r"\midrule",
        r"\addlinespace",
        r"\bottomrule",
    ]
    rows = [cells_of_latex(line) for line in table[table.index(r"\midrule") + 1 : -2] if line != r"\addlinespace"]
    assert [row[1:] for row in rows] == body()
    assert rows[1][0] == "+ Fine-tune & co, on A_B | 50 % <x>"
    groups = re.findall(r"\\multicolumn\{(\d)\}\{c\}\{([^}]*)\}", table[2])
    assert groups == [
        ("2", "No attack"),
        ("1", "PGD-20"),
        ("1", "CW-20"),
        ("1", "All attacks together"),
        ("1", "AutoAttack"),
    ]
    rules = [(int(a), int(b)) for a, b in re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", table[3])]
    assert rules == [(3, 4), (5, 5), (6, 6), (7, 7), (8, 8)]
    assert table[2].count("&") + sum(int(count) - 1 for count, _ in groups) == 9
    assert cells_of_latex(table[4]) == [head.rpartition(", ")[2] for head in HEAD]
    for line in table:
        assert not re.search(r"(?<!\\)[%#_^]", line), line
        assert line.isascii(), line


def test_html(written: Path) -> None:
    page = read(written / "table9.html")
    ((caption, (head, *rows)),) = page.tables
    assert caption == f"Table 9, scale small, protocol honest: The rows of “{TABLE.title}”, at scale small"
    assert head == HEAD
    assert [row[1:] for row in rows] == body()
    assert [row[0] for row in rows] == ["A_B | 50 % <x>", "+ Fine-tune & co on A_B | 50 % <x>", "Other", "Late"]
    scopes = [tags["scope"] for tag, tags in page.tags if tag == "th"]
    assert scopes == ["col"] * 10 + ["row"] * 4
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert not [tags for _, tags in page.tags if (tags.get("src") or tags.get("href") or "data:")[:5] != "data:"]
    text = (written / "table9.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert "they are not comparable with" in page.text
    assert "base--tuned: The tuned one's note." in page.text


def test_nothing_is_finished_yet(tmp_path: Path) -> None:
    write_table(tmp_path, TABLE, [], scale="paper", protocol="published", seeds=3)
    head, _, *rows = [[cell.strip() for cell in row] for row in piped(tmp_path / "table9.md")]
    assert head[2:6] == ["No attack, measured", "No attack, paper", "AutoAttack, measured", "AutoAttack, paper"]
    assert [row[-1] for row in rows] == 4 * ["0 of 3 seeds"]
    assert {row[2] for row in rows} == {"–"}
    text = (tmp_path / "table9.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {TABLE.title}\n")
    assert "No row is finished." in text
    assert "not comparable" not in text


def test_the_order_of_the_records_does_not_matter(tmp_path: Path) -> None:
    first = write_table(tmp_path / "a", TABLE, records(), scale="small", protocol="honest")
    second = write_table(tmp_path / "b", TABLE, records()[::-1], scale="small", protocol="honest")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_all_repeats_no_single_attack(tmp_path: Path) -> None:
    """Where AutoAttack alone was run, `all` has no column; the cell counts the seeds with AutoAttack."""
    full = record("base", 1)
    attacks = {"clean": full.attacks["clean"], "autoattack": full.attacks["cw20"], "all": full.attacks["cw20"]}
    some = [
        record("base", 1, attacks=attacks),
        record("base", 2, attacks={"clean": record("base", 2).attacks["clean"]}),
    ]
    write_table(tmp_path, TABLE, some, scale="small", protocol="honest")
    head, _, first, *_ = [[cell.strip() for cell in row] for row in piped(tmp_path / "table9.md")]
    assert head[2:6] == ["No attack, measured", "No attack, paper", "AutoAttack, measured", "AutoAttack, paper"]
    assert first[4] == "61.2 (30.0), 1 of 2 seeds"


def test_a_published_checkpoint_is_audited_once(tmp_path: Path) -> None:
    published = record("base", 1, epochs=0, seconds_per_epoch=None)
    write_table(tmp_path, TABLE, [published], scale="small", protocol="honest", seeds=3)
    row = [cell.strip() for cell in piped(tmp_path / "table9.md")[2]]
    assert (row[1], row[-2], row[-1]) == ("0", "–", "published checkpoint")
    assert "1 of 4 rows have" in (tmp_path / "table9.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("changes", [{"scale": "tiny"}, {"protocol": "published"}, {"row": "nobody"}])
def test_records_of_another_table_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    other = dataclasses.replace(record("base", 1), **changes)
    with pytest.raises(InputError, match="table9 at scale small, protocol honest"):
        write_table(tmp_path, TABLE, [other], scale="small", protocol="honest")
    assert not list(tmp_path.iterdir())


def test_table_4(tmp_path: Path) -> None:
    costs = [
        Cost(
            label="TRADES",
            method="trades",
            minutes={"cifar10-prn18": 1.234},
            paper={"cifar10-prn18": 2.63, "cifar100-rn18": 2.68},
            level="fixed",
            adversary_free=False,
            steers=False,
        ),
        Cost(
            label="CFA",
            method="cfa-trades",
            minutes={},
            paper={"cifar10-prn18": 2.75, "cifar100-rn18": 2.78},
            level="epoch",
            adversary_free=True,
            steers=True,
        ),
    ]
    paths = write_costs(tmp_path, costs, scale="small", notes=["One epoch each."])
    head, _, *rows = [[cell.strip() for cell in row] for row in piped(paths[0])]
    assert head[1:4] == [
        "Minutes per epoch, CIFAR-10 (PRN-18), measured",
        "Minutes per epoch, CIFAR-10 (PRN-18), paper",
        "Minutes per epoch, CIFAR-100 (RN-18), paper",
    ]
    assert rows == [
        ["TRADES", "1.23", "2.63", "2.68", "fixed", "no", "no"],
        ["CFA", "–", "2.75", "2.78", "epoch", "yes", "yes"],
    ]
    assert "1 of 2 methods are measured." in paths[0].read_text(encoding="utf-8")
    data = list(csv.DictReader(lines_of(paths[1])))
    assert (data[0]["minutes_cifar10-prn18"], data[1]["minutes_cifar10-prn18"]) == ("1.234", "")
    assert [row["validation_set"] for row in data] == ["false", "true"]
    ((_, printed),) = read(paths[3]).tables
    assert printed[1:] == rows


@pytest.mark.parametrize("label", [r"a\b", "a^b~c", "#1 $x$", "[2pt]", "τ − ε × ∞", "100 % {sure}"])
def test_hostile_labels(label: str) -> None:
    """Every special character of LaTeX is escaped, and no cell starts another."""
    sheet = TableContent(
        name="x",
        kind="k",
        title="t",
        lead=(),
        progress="",
        columns=[Column(name="Model"), Column(name="n")],
        rows=[[text_cell(label), text_cell("1")]],
        groups=[0],
        notes=["two\nlines"],
        data=[{"a": 1}],
    )
    (line,) = [line for line in latex(sheet).splitlines() if line.endswith(r"& 1 \\")]
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\[&%$#_{}]|\$\\?\w*-?\$|\{[\[\]]\}", "", line)
    assert not re.search(r"[%$#_^{}~\[\]]|\\(?!\\$|$)", bare), line
    assert line.isascii()
    assert [text for text in latex(sheet).splitlines() if text.startswith("lines")] == []
    assert f"| {label} | 1 |" in markdown(sheet)


def test_a_folder_from_a_version_without_a_setting(tmp_path: Path) -> None:
    record_or_check(tmp_path, "recipes/row", {"lr": 0.1, "width": None})
    record_or_check(tmp_path, "recipes/row", {"lr": 0.1, "width": None, "limit": None})
    with pytest.raises(InputError, match="limit None there, 90 here"):
        record_or_check(tmp_path, "recipes/row", {"lr": 0.1, "width": None, "limit": 90})
