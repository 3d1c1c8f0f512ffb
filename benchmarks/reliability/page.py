"""The tables of `docs/reliability.md`, from the results."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- {}: written by python -m benchmarks.reliability -->", "<!-- end of {} -->"


def write(found: Mapping[str, Any], page: Path) -> None:
    """Replace the tables of the page, each between its two marks."""
    text = page.read_text(encoding="utf-8")
    for name in TABLES:
        if name in found:
            begin, end = BEGIN.format(name), END.format(name)
            pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
            table = f"{begin}\n\n{TABLES[name](found[name])}\n{_made(found[name])}\n\n{end}"
            text = pattern.sub(table.replace("\\", r"\\"), text)
    page.write_text(text, encoding="utf-8")


def _made(part: Mapping[str, Any]) -> str:
    return f"\nMeasured at commit {part['commit']}, seed {part['seed']}, on {part['processor']}."


def _table(head: str, rows: list[list[Any]]) -> str:
    lines = [head, re.sub(r"[^|]+", " --- ", head)]
    return (
        "\n".join(lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows])
        + "\n"
    )


def _kills(part: Mapping[str, Any]) -> str:
    works = dict.fromkeys(row["work"] for row in part["rows"])
    rows = []
    for work in works:
        own = [row for row in part["rows"] if row["work"] == work]
        rows.append([f"`{work}`", len(own), sum(row["equal"] for row in own), sum(row["workers left"] for row in own)])
    rows.append(["all", part["kills"], part["equal"], sum(row["workers left"] for row in part["rows"])])
    return _table("| command | kills | equal endings | processes left |", rows)


def _writers(part: Mapping[str, Any]) -> str:
    pairs = dict.fromkeys(row["pair"] for row in part["rows"])
    own = {pair: [row for row in part["rows"] if row["pair"] == pair] for pair in pairs}
    rows = [[pair, len(rows), sum(row["refused"] for row in rows)] for pair, rows in own.items()]
    return _table("| commands | pairs | one of them refused |", [*rows, ["all", part["pairs"], part["refused"]]])


def _flips(part: Mapping[str, Any]) -> str:
    rows = [
        [f"`{kind}`", sum(each.values()), each.get("noticed", 0), each.get("none", 0), each.get("changed", 0)]
        for kind, each in part["by file"].items()
    ]
    total = [sum(row[k] for row in rows) for k in range(1, 5)]
    return _table("| file | bits flipped | rejected | same result | changed unnoticed |", [*rows, ["all", *total]])


def _hostile(part: Mapping[str, Any]) -> str:
    rows = [[row["file"], row["message"], row["seconds"], row["megabytes"]] for row in part["rows"]]
    return _table("| file | the user reads | seconds | MB |", rows)


def _fuzz(part: Mapping[str, Any]) -> str:
    rows = [[kind, each["cases"], each["accepted"], each["rejected"]] for kind, each in part["by kind"].items()]
    all_of = [sum(row[k] for row in rows) for k in range(1, 4)]
    return _table("| input | cases | accepted | rejected in a sentence |", [*rows, ["all", *all_of]])


TABLES = {"kills": _kills, "writers": _writers, "flips": _flips, "hostile": _hostile, "fuzz": _fuzz}
