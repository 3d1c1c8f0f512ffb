"""The runs behind `docs/results.md`: lists them with their prices, and runs what is not finished until time is spent.

    python benchmarks/runs.py --list
    python benchmarks/runs.py --data cifar10:DIR --out OUT --budget 540 --jobs 4
    python benchmarks/runs.py --data cifar10:DIR --out OUT --scale small --only 'prn18-1*' 'prn18-faal-*'

`benchmarks/runs.yaml` has the plan. Every item is a `faal` command in a process of its own, which goes on by itself
where it was stopped: what the budget cuts off, the next calls finish. Training writes a checkpoint every minute, so a
call has to be longer than that. An item that fails is recorded and passed over, with what needs it, until the next
call. OUT/runs.jsonl gets a line for each with its seconds, command and commit, and the figures of an audit; OUT/logs
what it said. Where one network does not fill the device, `--jobs 4` runs up to four items at once.

A price is counted: the forwards that the item makes (`faal.study.cost`) times the operations of one. Seconds follow at
a rate of operations per second: `--rate`, else what `benchmarks/step.py` measured on a device of this kind, else 3e14.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from faal.engine.environment import environment
from faal.engine.numerics import pick_device
from faal.errors import InputError
from plan import Item, Plan

HERE = Path(__file__).parent
PLAN, MEASURED = HERE / "runs.yaml", HERE / "results" / "step.json"
FAAL = [sys.executable, "-m", "faal"]
RATE = 3e14
"""Operations per second where nothing was measured: about what a current GPU makes of such steps in bf16."""

GRACE = 30.0
"""Seconds that a command has to end in once it is interrupted."""


# --- what is done, and what it takes ---------------------------------------------------------------------------------


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
    """Network -> operations per second, as `benchmarks/step.py` measured them on a device of this name."""
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


def run(item: Item, data: str, out: Path, seconds: float | None) -> tuple[str, str]:
    """Run an item, at most so long; its status (`done`, `stopped` or `failed`) and the last that it said."""
    words = item.words(data, str(out))
    log, stopped = out / "logs" / f"{item.name}.log", False
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "a", encoding="utf-8") as said,
        subprocess.Popen([*FAAL, *words], stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            stopped = True
            process.send_signal(signal.SIGINT)  # as a user stops it: it goes on from its last checkpoint
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            process.kill()
    if process.returncode == 0 and (out / item.makes).exists():
        return "done", ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return ("stopped", "") if stopped else ("failed", lines[-1] if lines else f"status {process.returncode}")


def work(
    items: Sequence[Item],
    data: Mapping[str, str],
    out: Path,
    *,
    budget: float | None,
    device: str,
    commit: str | None,
    jobs: int = 1,
) -> None:
    """Run what is not finished, at most so many items at once, in order, until the budget is spent."""
    # A shell lets what it starts in the background ignore interruptions, and that would be handed down to the items.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    until = None if budget is None else time.monotonic() + budget
    waiting = [item for item in items if not finished(item, out, records(out))]
    passed_over: set[str] = set()
    running: dict[Future[dict[str, Any]], Item] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            for item in list(waiting):
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    break
                if lacking := _lacking(item, passed_over, data):
                    print(f"{item.name}: waits for {', '.join(lacking)}", flush=True)
                    passed_over.add(item.name)
                elif len(running) < jobs and not _blocked(item, [*running.values(), *waiting[: waiting.index(item)]]):
                    print(f"{item.name} ...", flush=True)
                    running[pool.submit(_timed, item, data[item.data], out, left)] = item
                else:
                    continue
                waiting.remove(item)
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                item, found = running.pop(done), done.result()
                told = {"item": item.name, **found, "command": item.told, "operations": item.operations}
                with open(out / "runs.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(told | {"jobs": jobs, "device": device, "commit": commit}) + "\n")
                print(
                    f"{item.name}: {found['status']} after {found['seconds']:.1f} s", found.get("why", ""), flush=True
                )
                if found["status"] != "done":
                    passed_over.add(item.name)
    if waiting:
        print("The budget is spent; the same call goes on.", flush=True)


def _lacking(item: Item, passed_over: Collection[str], data: Mapping[str, str]) -> list[str]:
    """What an item waits for that this call cannot give it."""
    lacking = [need for need in item.needs if need in passed_over]
    return lacking or ([] if item.data in data else [f"--data {item.data}:DIR"])


def _blocked(item: Item, before: Sequence[Item]) -> bool:
    """Whether one of those before it makes what it needs, or writes to the same file."""
    return any(other.name in item.needs or other.makes == item.makes for other in before)


def _timed(item: Item, data: str, out: Path, seconds: float | None) -> dict[str, Any]:
    """Run an item; for the record, how it ended, and what an audit found."""
    began = time.monotonic()
    status, why = run(item, data, out, seconds)
    told: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began, 2)}
    if status == "done" and item.command[0] == "audit":
        told["figures"] = figures(out / item.makes)
    return told | ({"why": why} if why else {})


def figures(path: Path) -> dict[str, Any]:
    """An audit in short: n, and for each attack the average and the worst class with their intervals."""
    found = json.loads(path.read_text(encoding="utf-8"))
    attacks = {
        name: {key: each[key] for key in ("average", "worst")} | {"classes": [c["value"] for c in each["classes"]]}
        for name, each in found["attacks"].items()
    }
    return {"n": found["data"]["n"], "engine": found["engine"], "attacks": attacks}


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
    return "\n".join([*lines, f"{len(items)} items, {total / 1e15:.1f} PFLOP, {left:.0f} seconds to go"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", default=[], help="cifar10:DIR; again for cifar100:DIR")
    parser.add_argument("--out", type=Path, help="the folder of all runs")
    parser.add_argument("--budget", type=float, help="seconds; unset: until all is done")
    parser.add_argument("--jobs", type=int, default=1, help="items at once")
    parser.add_argument("--only", nargs="+", default=[], help="items by name or pattern, and what they need")
    parser.add_argument("--scale", default="paper", help="paper, small (a CPU) or toy (the tests)")
    parser.add_argument("--rate", type=float, help="operations per second, such as 300e12")
    parser.add_argument("--list", action="store_true", help="show the items, their prices and what is done")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        parser.error(f"--jobs is how many items run at once, 1 or more, not {given.jobs}")
    made = environment(pick_device("auto"))
    try:
        plan = Plan(yaml.safe_load(PLAN.read_text(encoding="utf-8")), given.scale)
        items = plan.wanted(given.only)
    except InputError as error:
        parser.error(str(error))
    if given.list:
        print(listing(items, given.out, measured_rates(MEASURED, made["device"]), given.rate))
        return
    if given.out is None or not given.data:
        parser.error("--data and --out say on what and where to run; --list shows the plan without them")
    named = {spec.partition(":")[0]: spec for spec in given.data}
    if plan.changes.get("any_data"):
        named = dict.fromkeys(plan.content["data"], given.data[0])
    given.out.mkdir(parents=True, exist_ok=True)
    work(items, named, given.out, budget=given.budget, device=made["device"], commit=made["commit"], jobs=given.jobs)


if __name__ == "__main__":
    main()
