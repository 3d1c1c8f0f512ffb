"""The state of a plan of runs, and the time that the rest takes, from OUT/runs.jsonl, which `runs.py` writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.plan import PlanItem

RATE = 3e14
"""Operations per second where none were measured: about those of a current GPU on such steps in bf16."""


def records(out: Path | None) -> list[dict[str, Any]]:
    """The lines of runs.jsonl; a line that a crash truncated is skipped."""
    found = []
    path = None if out is None else out / "runs.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def seconds_of(item: PlanItem, log: Sequence[Mapping[str, Any]]) -> float:
    """The seconds that all calls together have spent on an item."""
    return float(sum(r["seconds"] for r in log if r["item"] == item.name and r["command"] == item.command_line))


def finished(item: PlanItem, out: Path | None, log: Sequence[Mapping[str, Any]]) -> bool:
    """Whether this exact command was finished, and its file is still there, or `kept.py` left it out on purpose."""
    done = [r for r in log if r["item"] == item.name and r["command"] == item.command_line and r["status"] == "done"]
    return bool(done) and out is not None and ((out / item.makes).exists() or any(r.get("collected") for r in done))


def measured_rates(path: Path, device: str) -> dict[str, float]:
    """Network -> operations per second, as `benchmarks/speed/step.py` measured them on a device of this name."""
    if not path.exists():
        return {}
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["environment"]["device"] != device:
        return {}
    return {net: found["operations per second"] for net, found in result["nets"].items()}


def rate_of(item: PlanItem, rates: Mapping[str, float], given: float | None) -> float:
    """Operations per second for an item; where its own network was not measured, that of its model, or of any."""
    if given is not None:
        return given
    model = item.net.partition(":")[0]
    return rates.get(item.net) or rates.get(model) or next(iter(rates.values()), RATE)


def listing(items: Sequence[PlanItem], out: Path | None, rates: Mapping[str, float], given: float | None) -> str:
    """A line per item: its cost, the seconds that it is expected to take, those that it took, and its state."""
    log = records(out)
    lines = [f"{'item':42}{'PFLOP':>9}{'seconds':>10}{'took':>10}  state"]
    total, left = 0.0, 0.0
    for item in items:
        seconds, took = item.operations / rate_of(item, rates, given), seconds_of(item, log)
        last = next((r for r in reversed(log) if r["item"] == item.name and r["command"] == item.command_line), None)
        done = finished(item, out, log)
        state = "done" if done else "open" if last is None else {"done": "gone"}.get(last["status"], last["status"])
        total, left = total + item.operations, left + (0 if done else seconds)
        spent = f"{took:.1f}" if took else ""
        lines.append(f"{item.name:42}{item.operations / 1e15:9.3f}{seconds:10.1f}{spent:>10}  {state}")
    lines += _stages(items, [finished(item, out, log) for item in items], rates, given)
    return "\n".join([*lines, f"{len(items)} items, {total / 1e15:.1f} PFLOP, {left:.0f} seconds to go"])


def _stages(
    items: Sequence[PlanItem], done: Sequence[bool], rates: Mapping[str, float], given: float | None
) -> list[str]:
    """A line per stage: the number of items, their cost in hours, and how much of it is left."""
    lines = []
    for stage in dict.fromkeys(item.stage for item in items if item.stage):
        own = [
            (item.operations / rate_of(item, rates, given) / 3600, ended)
            for item, ended in zip(items, done, strict=True)
            if item.stage == stage
        ]
        to_go = sum(hours for hours, ended in own if not ended)
        price = f"{sum(hours for hours, _ in own):.1f} hours, {to_go:.1f} to go"
        lines.append(f"stage {stage}: {len(own)} items, {price}")
    return lines
