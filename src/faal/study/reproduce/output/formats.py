"""A table as Markdown, CSV, LaTeX and HTML, all from one `TableContent`."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from faal.checkpoint import write_atomically
from faal.report import elements
from faal.report.elements import Cell, Page, Section
from faal.report.page import render
from faal.report.wording import NBSP

MISSING = "–"
"""The text of a missing value."""

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
    "[": "{[}",  # A row that starts with a bracket would be parsed as the length after the \\ before it.
    "]": "{]}",
    NBSP: "~",
}
"""Character -> its LaTeX, for those that LaTeX does not print unchanged."""

BAR, END = "\\|", "\\\\"
"""A bar within a cell of Markdown, and the end of a line of LaTeX."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's heading: its name, and the group that it shares with its neighbours, such as the attack."""

    name: str
    group: str = ""

    @property
    def head(self) -> str:
        """Group and name in one line."""
        return f"{self.group}, {self.name}" if self.group else self.name


@dataclass(frozen=True, kw_only=True)
class TableContent:
    """The cells of a table, its headings and its notes."""

    name: str
    """The name of the files, without a suffix."""
    kind: str
    """Table, scale and protocol: `Table 2, scale tiny, protocol honest`."""
    title: str
    lead: Sequence[str]
    """Sentences before the table: how to read it."""
    progress: str
    """A sentence on the number of finished rows."""
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    """(rows, columns); the first cell of a row is its heading."""
    groups: Sequence[int]
    """(rows,) numbers, equal for rows of one group."""
    notes: Sequence[str]
    """Sentences after the table."""
    data: Sequence[Mapping[str, str | float | int | None]]
    """The CSV: a mapping per row, all with the same keys; numbers unrounded."""


def write_formats(out: Path, content: TableContent) -> list[Path]:
    """Write the four files into a folder, each atomically.

    Raises:
        InputError: a file cannot be written.
    """
    texts = {".md": markdown(content), ".csv": csv_text(content), ".tex": latex(content), ".html": html(content)}
    for suffix, text in texts.items():
        write_atomically(out / f"{content.name}{suffix}", text.encode())
    return [out / f"{content.name}{suffix}" for suffix in texts]


def markdown(content: TableContent) -> str:
    """A heading, the table and the notes."""
    lines = [
        f"# {content.title}",
        "",
        f"{content.kind}. {content.progress}",
        "",
        " ".join(content.lead),
        "",
        _markdown_row(column.head for column in content.columns),
        _markdown_row("---:" if cell.numeric else "---" for cell in content.rows[0]),
        *(_markdown_row(_cell_text(cell).replace(NBSP, " ") for cell in row) for row in content.rows),
        "",
        *(f"- {note}" for note in content.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def csv_text(content: TableContent) -> str:
    """A header and a line per row; a missing value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(content.data[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(content.data)
    return text.getvalue()


def latex(content: TableContent) -> str:
    """A `tabular` that requires only booktabs; title, introduction and notes are comments."""
    comments = [
        f"{content.kind}: {content.title}",
        content.progress,
        *content.lead,
        *content.notes,
        r"Needs \usepackage{booktabs}.",
    ]
    head, rules, start = [], [], 1
    for group, columns in groupby(content.columns, key=lambda column: column.group):
        count = len(list(columns))
        head.append(rf"\multicolumn{{{count}}}{{c}}{{{_latex_escaped(group)}}}" if group else " & ".join([""] * count))
        rules += [rf"\cmidrule(lr){{{start}-{start + count - 1}}}"] if group else []
        start += count
    lines = [f"% {' '.join(line.split())}" for line in comments]
    lines.append(rf"\begin{{tabular}}{{{''.join('r' if cell.numeric else 'l' for cell in content.rows[0])}}}")
    lines.append(r"\toprule")
    if rules:
        lines += [_latex_row(head), " ".join(rules)]
    lines += [_latex_row(_latex_escaped(column.name) for column in content.columns), r"\midrule"]
    before = content.groups[0]
    for row, group in zip(content.rows, content.groups, strict=True):
        if group != before:
            lines.append(r"\addlinespace")
        before = group
        lines.append(_latex_row(_latex_escaped(_cell_text(cell)) for cell in row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def html(content: TableContent) -> str:
    """A page in one file, in the style of the reports."""
    table = elements.Table(
        caption=f"{content.kind}: {content.title}", head=[column.head for column in content.columns], rows=content.rows
    )
    page = Page(
        title=content.kind,
        headline=content.title,
        lead=content.lead,
        warnings=(),
        tiles_note=content.progress,
        tiles=(),
        sections=[
            Section(heading="Rows", tables=[table]),
            Section(heading="Notes", points=content.notes),
        ],
    )
    return render(page)


def _cell_text(cell: Cell) -> str:
    """A cell and its note in one line."""
    return f"{cell.text}, {cell.note}" if cell.note else cell.text


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def _latex_row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} {END}"


def _latex_escaped(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
