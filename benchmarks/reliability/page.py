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
    where = f"at commit {part['commit']}, seed {part['seed']}, on {part['processor']}, in {part['seconds']} s"
    return f"\n`{part['command']}`, {where}."


def _table(head: str, rows: list[list[Any]]) -> str:
    lines = [head, re.sub(r"[^|]+", " --- ", head)]
    return (
        "\n".join(lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows])
        + "\n"
    )


def _kills(part: Mapping[str, Any]) -> str:
    rows = []
    for work in dict.fromkeys(row["work"] for row in part["rows"]):
        own = [row for row in part["rows"] if row["work"] == work]
        ended = [row for row in own if row["ended"]]
        equal = sum(not row["differ"] for row in ended)
        rows.append([f"`{work}`", len(own), len(ended), equal, sum(row["processes left"] for row in own)])
    rows.append(["all", *(part[key] for key in ("kills", "endings", "equal", "processes left"))])
    return _table("| command | kills | endings | equal | processes left |", rows)


def _writers(part: Mapping[str, Any]) -> str:
    rows = []
    for pair in dict.fromkeys(row["pair"] for row in part["rows"]):
        own = [row for row in part["rows"] if row["pair"] == pair]
        whole = sum(row["refused"] and not row["differ"] for row in own)
        named = sum("is being written by `faal" in row["sentence"] for row in own)
        rows.append([pair, len(own), sum(row["refused"] for row in own), named, whole])
    rows.append(["all", *(part[key] for key in ("pairs", "refused", "named", "whole"))])
    return _table("| commands | pairs | one refused | with the other's process | the other's result as alone |", rows)


def _flips(part: Mapping[str, Any]) -> str:
    rows = [
        [f"`{kind}`", sum(each.values()), *(each.get(result, 0) for result in ("rejected", "same", "changed"))]
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
