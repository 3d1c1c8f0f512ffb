"""What is done of a plan of runs, and what the rest takes, from OUT/runs.jsonl, which `benchmarks/experiments/runs.py` writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.plan import Item

RATE = 3e14
"""Operations per second where nothing was measured: about what a current GPU makes of such steps in bf16."""


def records(out: Path | None) -> list[dict[str, Any]]:
    """The lines of runs.jsonl; a line that a crash cut off is passed over."""
    found = []
    path = None if out is None else out / "runs.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def seconds_of(item: Item, told: Sequence[Mapping[str, Any]]) -> float:
    """What all calls together have spent on an item."""
    return float(sum(r["seconds"] for r in told if r["item"] == item.name and r["command"] == item.told))


def finished(item: Item, out: Path | None, told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether this very command was once done, and what it made is still there."""
    done = any(r["item"] == item.name and r["command"] == item.told and r["status"] == "done" for r in told)
    return done and out is not None and (out / item.makes).exists()


def measured_rates(path: Path, device: str) -> dict[str, float]:
    """Network -> operations per second, as `benchmarks/speed/step.py` measured them on a device of this name."""
    if not path.exists():
        return {}
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["environment"]["device"] != device:
        return {}
    return {net: found["operations per second"] for net, found in result["nets"].items()}


def rate_of(item: Item, rates: Mapping[str, float], given: float | None) -> float:
    """Operations per second for an item; where its own network was not measured, that of its model, or of any."""
    if given is not None:
        return given
    model = item.net.partition(":")[0]
    return rates.get(item.net) or rates.get(model) or next(iter(rates.values()), RATE)


def listing(items: Sequence[Item], out: Path | None, rates: Mapping[str, float], given: float | None) -> str:
    """A line per item: what is known of it, its price, what it took."""
    told = records(out)
    lines = [f"{'item':42}{'PFLOP':>9}{'seconds':>10}{'took':>10}  state"]
    total, left = 0.0, 0.0
    for item in items:
        seconds, took = item.operations / rate_of(item, rates, given), seconds_of(item, told)
        last = next((r for r in reversed(told) if r["item"] == item.name and r["command"] == item.told), None)
        done = finished(item, out, told)
        state = "done" if done else "open" if last is None else {"done": "gone"}.get(last["status"], last["status"])
        total, left = total + item.operations, left + (0 if done else seconds)
        spent = f"{took:.1f}" if took else ""
        lines.append(f"{item.name:42}{item.operations / 1e15:9.3f}{seconds:10.1f}{spent:>10}  {state}")
    lines += _stages(items, [finished(item, out, told) for item in items], rates, given)
    return "\n".join([*lines, f"{len(items)} items, {total / 1e15:.1f} PFLOP, {left:.0f} seconds to go"])


def _stages(items: Sequence[Item], done: Sequence[bool], rates: Mapping[str, float], given: float | None) -> list[str]:
    """A line per stage: its items, its price in hours, and what is left of it."""
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
