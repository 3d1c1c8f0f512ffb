"""`kept.py`: runs continue on another machine from the few files that their unfinished items need."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.benchmarks.experiments.test_evidence import MINIATURE
from tests.helpers.benches import script


@pytest.fixture
def plan() -> Any:
    return script("plan").Plan(yaml.safe_load(MINIATURE), "paper", "plan.yaml")


def made(out: Path, plan: Any, *names: str) -> None:
    """A folder of runs in which these items are done."""
    for name in names:
        item = plan.items[name]
        (out / item.makes).parent.mkdir(parents=True, exist_ok=True)
        (out / item.makes).write_text(name)
        line = {"item": name, "command": item.command_line, "status": "done", "seconds": 1.0}
        with open(out / "runs.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def unfinished(plan: Any, out: Path) -> set[str]:
    state = script("state")
    log = state.records(out)
    return {item.name for item in plan.items.values() if not state.finished(item, out, log)}


def test_what_unfinished_items_need_is_kept(tmp_path: Path, plan: Any) -> None:
    out, kept, there = tmp_path / "out", tmp_path / "kept", tmp_path / "there"
    made(out, plan, "base-1", "base-1.usual")
    for name in ("last.pt", "verdicts.npz", "autoattack/first-30/blocks/cw2-00000-0123.npz"):
        (out / "base-1" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "base-1" / name).write_bytes(b"0")
    (out / "base-1" / "report.html").write_text(f"made in {out}")
    (out / "base-1" / "audit.json").write_text(json.dumps({"command": f"faal audit {out}/base-1"}))
    before = unfinished(plan, out)
    assert before == {"base-1.autoattack-30", "theirs.usual"}
    assert set(script("kept").pack(plan, out, kept)) == before
    files = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert {"runs.jsonl", "base-1/best.pt", "base-1/verdicts.npz"} < files
    assert "base-1/autoattack/first-30/blocks/cw2-00000-0123.npz" in files
    assert not {"base-1/last.pt", "base-1/report.html"} & files
    assert json.loads((kept / "base-1" / "audit.json").read_text()) == {"command": "faal audit OUT/base-1"}
    assert script("kept").unpack(kept, there) == len(files)
    assert unfinished(plan, there) == before
    assert script("kept").unpack(kept, there) == 0  # nothing is overwritten


def test_finished_items_are_left_out_and_stay_finished(tmp_path: Path, plan: Any) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    made(out, plan, "base-1", "base-1.usual", "base-1.autoattack-30")
    script("kept").pack(plan, out, kept)
    assert {path.name for path in kept.rglob("*")} == {"runs.jsonl"}
    assert unfinished(plan, kept) == {"theirs.usual"}


def test_earlier_results_stay(tmp_path: Path, plan: Any) -> None:
    collected = script("evidence").collected
    command = plan.items["base-1"].command_line
    earlier = {"networks": {"base-1": {"command": command}}, "audits": {"theirs.usual": {"command": "another"}}}
    found = collected(plan, tmp_path, earlier)
    assert found["networks"] == earlier["networks"]
    assert found["audits"] == {}  # of another command
    assert found["finished"] == 1
