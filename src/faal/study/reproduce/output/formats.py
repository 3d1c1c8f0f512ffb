"""A finished table as text: Markdown, CSV, LaTeX and a page of HTML, all from one `Sheet`."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from faal.checkpoint import write_whole
from faal.report import elements
from faal.report.elements import Cell, Page, Section
from faal.report.page import render
from faal.report.wording import NBSP

MISSING = "–"
"""What stands where there is no figure."""

LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "ε": r"$\epsilon$",
    "τ": r"$\tau$",
    "∞": r"$\infty$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # A row that starts with a bracket would be read as the length after the \\ before it.
    "]": "{]}",
    NBSP: "~",
}
"""What LaTeX would not print as it stands."""

BAR, END = "\\|", "\\\\"
"""A bar within a cell of Markdown, and the end of a line of LaTeX."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's head: its name, and what it shares with its neighbours, such as the attack."""

    name: str
    group: str = ""

    @property
    def head(self) -> str:
        """Both in one line."""
        return f"{self.group}, {self.name}" if self.group else self.name


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table in words and figures, with what its reader has to know."""

    name: str
    """The files' name, without an ending."""
    kind: str
    """Which table it is, how large and under which rules: `Table 2, scale tiny, protocol honest`."""
    title: str
    lead: Sequence[str]
    """How to read it: sentences that stand before it."""
    progress: str
    """How much of it there is, in a sentence."""
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    """As many cells as columns; the first heads the row."""
    groups: Sequence[int]
    """(rows,) numbers, equal for rows that belong together."""
    notes: Sequence[str]
    """Sentences that stand beneath."""
    data: Sequence[Mapping[str, str | float | int | None]]
    """The CSV: a mapping per row, all with the same keys; numbers unrounded."""


def write(out: Path, sheet: Sheet) -> list[Path]:
    """Writes the four files into a folder, each whole or not at all.

    Raises:
        InputError: a file cannot be written.
    """
    texts = {".md": markdown(sheet), ".csv": comma_separated(sheet), ".tex": latex(sheet), ".html": html(sheet)}
    for ending, text in texts.items():
        write_whole(out / f"{sheet.name}{ending}", text.encode())
    return [out / f"{sheet.name}{ending}" for ending in texts]


def markdown(sheet: Sheet) -> str:
    """A heading, the table and the notes."""
    lines = [
        f"# {sheet.title}",
        "",
        f"{sheet.kind}. {sheet.progress}",
        "",
        " ".join(sheet.lead),
        "",
        _piped(column.head for column in sheet.columns),
        _piped("---:" if cell.numeric else "---" for cell in sheet.rows[0]),
        *(_piped(_plain(cell).replace(NBSP, " ") for cell in row) for row in sheet.rows),
        "",
        *(f"- {note}" for note in sheet.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def comma_separated(sheet: Sheet) -> str:
    """The data, a head and a line per row; a missing value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(sheet.data[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(sheet.data)
    return text.getvalue()


def latex(sheet: Sheet) -> str:
    """A `tabular` for a paper, in need of booktabs alone; what its reader has to know stands as comments."""
    told = [f"{sheet.kind}: {sheet.title}", sheet.progress, *sheet.lead, *sheet.notes, r"Needs \usepackage{booktabs}."]
    head, rules, start = [], [], 1
    for group, columns in groupby(sheet.columns, key=lambda column: column.group):
        count = len(list(columns))
        head.append(rf"\multicolumn{{{count}}}{{c}}{{{_escaped(group)}}}" if group else " & ".join([""] * count))
        rules += [rf"\cmidrule(lr){{{start}-{start + count - 1}}}"] if group else []
        start += count
    lines = [f"% {' '.join(line.split())}" for line in told]
    lines.append(rf"\begin{{tabular}}{{{''.join('r' if cell.numeric else 'l' for cell in sheet.rows[0])}}}")
    lines.append(r"\toprule")
    if rules:
        lines += [_line(head), " ".join(rules)]
    lines += [_line(_escaped(column.name) for column in sheet.columns), r"\midrule"]
    before = sheet.groups[0]
    for row, group in zip(sheet.rows, sheet.groups, strict=True):
        if group != before:
            lines.append(r"\addlinespace")
        before = group
        lines.append(_line(_escaped(_plain(cell)) for cell in row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def html(sheet: Sheet) -> str:
    """A page in one file, in the dress of the reports."""
    table = elements.Table(
        caption=f"{sheet.kind}: {sheet.title}", head=[column.head for column in sheet.columns], rows=sheet.rows
    )
    page = Page(
        title=sheet.kind,
        headline=sheet.title,
        lead=sheet.lead,
        warnings=(),
        tiles_note=sheet.progress,
        tiles=(),
        sections=[
            Section(heading="The rows", tables=[table]),
            Section(heading="What the figures rest on", points=sheet.notes),
        ],
    )
    return render(page)


def _plain(cell: Cell) -> str:
    """A cell and its note in one line."""
    return f"{cell.text}, {cell.note}" if cell.note else cell.text


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} {END}"


def _escaped(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
