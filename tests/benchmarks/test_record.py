"""The record of what the program does: equal to itself, and a change of a weight, a key or an option is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.benches import script

ROOT = Path(__file__).parents[2]

PAGE = """
╭─ Arguments ─────────────╮
│ *  RUN   A run. [required] │
│    FILE  What to write.  │
╰─────────────────────────╯
╭─ Parameters ────────────╮
│ *  --data STR     digits, or npz:FILE. [required] │
│    --seed INT     Of all that is random. [default: 1] │
│    --base STR...  NAME=FILE; again for the next. │
│    --rgb          Three channels. [default: False] │
│    --help (-h)    This page. │
╰─────────────────────────╯
"""


def test_options_without_their_sentences() -> None:
    facts = script("facts").help_facts("audit", PAGE)
    assert facts == {
        "audit/argument 1": "required",
        "audit/argument 2": "",
        "audit/--data": "required",
        "audit/--seed": "default 1",
        "audit/--base": "",
        "audit/--rgb": "default False",
        "audit/--help (-h)": "",
    }
    said = PAGE.replace("Of all that is random.", "Another sentence, with another end.")
    assert script("facts").help_facts("audit", said) == facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a run and an audit, as far as a record reads them."""
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}
    torch.save({"weights": weights, "epoch": 1}, tmp_path / "best.pt")
    rows = [{"event": "epoch", "loss": 0.5, "seconds": 1.5}, {"event": "end", "notes": ["a sentence"]}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figures = {"average": {"value": 0.5}, "worst": {"class": "x", "value": 0.25}, "seconds": 3.0}
    audit = {"threat": {"norm": "linf", "epsilon": 0.1}, "attacks": {"pgd20": figures}}
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    np.savez(tmp_path / "verdicts.npz", label=np.arange(4), pgd20_correct=np.array([True, False, True, True]))
    return tmp_path


def facts_of(folder: Path) -> list[str]:
    found = script("facts").run_digests(folder) | script("facts").audit_digests(folder)
    for name in ("best.pt", "metrics.jsonl", "audit.json"):
        found |= {f"keys/{where}": what for where, what in script("facts").file_keys(folder / name).items()}
    lines: list[str] = script("record").lines_of(found)
    return lines


def rewritten(file: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file or a checkpoint."""
    if file.suffix == ".pt":
        found = torch.load(file, weights_only=True)
        change(found)
        torch.save(found, file)
    elif file.suffix == ".npz":
        with np.load(file) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        change(found)
        np.savez(file, **found)
    else:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        change(rows[0])
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


CHANGES: dict[str, tuple[str, Callable[[Any], None], str]] = {
    "a weight": ("best.pt", lambda found: found["weights"]["a"].add_(1e-6), "best.pt/weights"),
    "a weight's type": ("best.pt", lambda found: found["weights"].update(b=torch.tensor(3.0)), "best.pt/weights/b"),
    "a weight's name": ("best.pt", lambda found: found["weights"].update(c=found["weights"].pop("b")), "weights/c"),
    "a logged figure": ("metrics.jsonl", lambda row: row.update(loss=0.25), "metrics.jsonl/epoch/loss"),
    "a logged key": ("metrics.jsonl", lambda row: row.update(reward=1), "metrics.jsonl/epoch/reward"),
    "a figure": ("audit.json", lambda row: row["attacks"]["pgd20"]["worst"].update(value=0.5), "(worst)"),
    "a key": ("audit.json", lambda row: row.update(more=1), "keys/audit.json/more"),
    "a verdict": ("verdicts.npz", lambda found: found["pgd20_correct"].put(1, True), "verdicts.npz/pgd20_correct"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found(run: Path, name: str) -> None:
    file, change, where = CHANGES[name]
    before = facts_of(run)
    rewritten(run / file, change)
    differ = script("record").difference(before, facts_of(run))
    assert any(line.startswith("+") and where in line for line in differ[2:])


def test_time_and_sentences_are_no_facts(run: Path) -> None:
    before = facts_of(run)
    rewritten(run / "metrics.jsonl", lambda row: row.update(seconds=9.0))
    rewritten(run / "audit.json", lambda row: row["attacks"]["pgd20"].update(seconds=9.0))
    assert script("record").difference(before, facts_of(run)) == []
    page = "table,row,label,seconds_per_epoch,clean_average\ntable1,faal-at,A name,{},0.5\n"
    facts = script("facts").csv_facts("table1", page.format(1.5))
    assert facts == script("facts").csv_facts("table1", page.format(2.5))
    assert facts["table1/faal-at"] == "table=table1 row=faal-at clean_average=0.5"


def test_every_recipe_is_whole() -> None:
    """What all have in common is said once, and nothing is lost by it."""
    recipes = {
        "one": {"method": "faal-at", "lr": {"0": 0.1}, "tau": 0.5},
        "two": {"method": "trades", "lr": {"0": 0.1}, "tau": 0.5},
        "three": {"method": "trades", "lr": {"0": 0.1}, "tau": 0.05, "beta": None},
    }
    facts = script("facts").recipe_facts(recipes)
    assert {where: facts[where] for where in ("*/lr", "*/tau", "three/tau")} == {
        "*/lr": '{"0": 0.1}', "*/tau": "0.5", "three/tau": "0.05",
    }  # fmt: skip
    for name, recipe in recipes.items():
        for setting in ("method", "lr", "tau", "beta"):
            stated = facts.get(f"{name}/{setting}", facts.get(f"*/{setting}"))
            assert stated == (json.dumps(recipe[setting]) if setting in recipe else "absent")


def test_a_record_names_its_parts_and_leaves_its_header_out(tmp_path: Path) -> None:
    record = script("record")
    file = tmp_path / "record.txt"
    lines = record.lines_of({"options/b": "", "keys/a/x": "1"})
    file.write_text("\n".join([*record.header(ROOT, ("keys",)), *lines]) + "\n")
    assert record.read(file) == lines == ["keys/a/x = 1", "options/b"]
    assert record.parts_in(lines) == {"keys", "options"}
    assert record.difference(lines, lines) == []


@pytest.mark.medium
def test_commands_options_and_recipes_are_the_recorded_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A new one belongs into the record: `python -m benchmarks.record write benchmarks/results/record.txt --only ...`
    with the parts that its header names."""
    record, parts = script("record"), ("options", "recipes")
    kept = [line for line in record.read(ROOT / "benchmarks" / "results" / "record.txt") if line.startswith(parts)]
    facts, whole = record.gather(script("surface").Surface(ROOT), parts, 2)
    assert whole
    assert "\n".join(record.difference(kept, record.lines_of(facts))) == ""
