"""Reads a page for the tests: checks that elements nest, collects tables and text."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Checks that elements nest, and collects tables (caption -> rows of cells), tags with their attributes, text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append(("", []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> does not nest, line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            return
        data = data.replace("\u00a0", " ")
        self.text += data
        if "caption" in self.open:
            self.tables[-1] = (self.tables[-1][0] + data, self.tables[-1][1])
        elif {"td", "th"} & set(self.open):
            self.tables[-1][1][-1][-1] += data

    def rows(self, caption: str) -> dict[str, list[str]]:
        """The rows of the one table whose caption starts so: first cell -> the others."""
        (found,) = [rows for name, rows in self.tables if name.startswith(caption)]
        return {row[0]: row[1:] for row in found}


def read(path: Path) -> Reader:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def heading(reader: Reader, path: Path) -> str:
    (found,) = re.findall(r"<h1>(.*?)</h1>", path.read_text(encoding="utf-8"))
    return found.replace("\u00a0", " ")


def printed(entry: dict[str, Any]) -> str:
    return f"{100 * entry['value']:.1f} {100 * entry['low']:.1f} to {100 * entry['high']:.1f}"
