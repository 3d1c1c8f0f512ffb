"""The runs behind `docs/results.md`: list them with their costs, and run those that are not finished.

    python -m benchmarks.experiments.runs --list
    python -m benchmarks.experiments.runs --data cifar10:DIR --out OUT --budget 540 --jobs 4
    python -m benchmarks.experiments.runs --data cifar10:DIR --out OUT --scale small --only 'prn18-1*' 'prn18-faal-*'

    nice -n 10 python -m benchmarks.experiments.runs --plan benchmarks/experiments/evidence.yaml \\
        --data fashion-mnist --data cifar10:DIR --given DIR --out OUT --stage A B

The plan is `benchmarks/experiments/runs.yaml`, unless `--plan` names another. Every item is a `faal` command in a
process of its own, which continues where it was stopped: items that the budget interrupts are finished by the next
calls. Training writes a checkpoint every minute, so a call has to be longer than that. SIGTERM and SIGINT stop the
runner and its items; the item of a killed runner runs to its end, and the next runner waits for it. An item that
fails is recorded and skipped, with those that need it, until the next call. OUT/runs.jsonl gets a line for each item
with its seconds, command and commit, and an audit's figures; OUT/logs has its output. Where one network does not fill
the device, `--jobs 4` runs up to four items at once.

A plan may state the number of threads of a process, and rates; with one item at a time its processor time is recorded
too.

An item's cost is the number of its forwards (`benchmarks/speed/cost.py`) times the operations of one. Its seconds are
computed from a rate of operations per second: `--rate`, else the one that `benchmarks/speed/step.py` measured on a
device of this kind, else 3e14.
"""

import argparse
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.experiments.plan import Plan, PlanItem
from benchmarks.experiments.state import finished, listing, measured_rates, records

import faal
from faal.bounds.plain import read_yaml
from faal.engine.environment import environment
from faal.engine.numerics import pick_device
from faal.errors import InputError

HERE = Path(__file__).parent
PLAN, MEASURED = HERE / "runs.yaml", HERE.parent / "results" / "step.json"
FAAL = [sys.executable, "-m", "faal"]
GRACE = 30.0
"""Seconds within which an interrupted command has to end."""

POLL = 0.2
"""Seconds between two checks of whether a command has to stop."""

SOURCE = HERE.parents[1] / "src"
"""The code that the commands run, unless `--source` names another: this checkout's, whatever is installed."""


def run(
    item: PlanItem,
    data: str,
    out: Path,
    seconds: float | None,
    *,
    env: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> tuple[str, str]:
    """Run an item for at most `seconds` and until `stop` is set, with the environment variables `env`, in `out`, where
    an external network's module is.

    Returns:
        Its status (`done`, `stopped` or `failed`), and for a failed one the last line of its output.
    """
    env = commands_environment(None) if env is None else env
    words = item.launched(data, str(out), Path(env["PYTHONPATH"].split(os.pathsep)[0]))
    log, stopped = out / "logs" / f"{item.name}.log", False
    log.parent.mkdir(parents=True, exist_ok=True)
    until = None if seconds is None else time.monotonic() + seconds
    with (
        open(log, "a", encoding="utf-8") as output,
        # Files are not closed, so that the command inherits the lock.
        subprocess.Popen(
            [*FAAL, *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=out,
            env=env,
            close_fds=False,
            start_new_session=True,  # Ctrl-C reaches it once, from here: a second one would end it unsaved
        ) as process,
    ):
        try:
            while process.poll() is None and not stopped:
                stopped = (stop is not None and stop.is_set()) or (until is not None and time.monotonic() > until)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
            if stopped and process.poll() is None:
                process.send_signal(signal.SIGINT)  # as a user stops it: it saves, and continues from there
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
        finally:
            process.kill()
    stopped = stopped or (stop is not None and stop.is_set())
    if process.returncode == 0 and (out / item.makes).exists():
        return "done", ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return ("stopped", "") if stopped else ("failed", lines[-1] if lines else f"status {process.returncode}")


def commands_environment(threads: int | None, source: Path = SOURCE) -> dict[str, str]:
    """The environment variables of a command: the code in `source` first on the path, and so many threads."""
    path = os.pathsep.join(part for part in (str(source), os.environ.get("PYTHONPATH")) if part)
    bound = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return os.environ | {"PYTHONPATH": path} | bound


@contextmanager
def alone(out: Path, until: float | None) -> Iterator[bool]:
    """Hold the lock of a folder of runs; yields whether it was free before `until`.

    Commands inherit the lock: where a runner was killed and its command was not, the next runner waits, so that no two
    processes write to the same run.
    """
    with open(out / "lock", "w", encoding="utf-8") as lock:
        os.set_inheritable(lock.fileno(), True)
        announced = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not announced:
                    print(f"Another runner, or a command that it left, is at work in {out}: waiting.", flush=True)
                announced = True
                if until is not None and time.monotonic() > until:
                    yield False
                    return
                time.sleep(POLL)
            else:
                yield True
                return


def work(
    items: Sequence[PlanItem],
    data: Mapping[str, str],
    out: Path,
    *,
    budget: float | None,
    device: str,
    commit: str | None,
    jobs: int = 1,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run the items that are not finished, in order, at most `jobs` at once, until the budget is spent."""
    stop = threading.Event()
    # A shell makes background processes ignore interruptions, and the items would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    until = None if budget is None else time.monotonic() + budget
    with alone(out, until) as free:
        if not free:
            print("The budget is spent; the same call goes on.", flush=True)
            return
        _run_all(items, data, out, until=until, call={"jobs": jobs, "device": device, "commit": commit},
                env=env, stop=stop)  # fmt: skip
    if stop.is_set():
        print("Stopped; the same call goes on.", flush=True)
        sys.exit(1)


def _run_all(
    items: Sequence[PlanItem], data: Mapping[str, str], out: Path, *, until: float | None, call: Mapping[str, Any],
    env: Mapping[str, str] | None, stop: threading.Event,
) -> None:  # fmt: skip
    jobs = call["jobs"]
    waiting = [item for item in items if not finished(item, out, records(out))]
    passed_over: set[str] = set()
    running: dict[Future[dict[str, Any]], PlanItem] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            for item in list(waiting):
                left = None if until is None else until - time.monotonic()
                if stop.is_set() or (left is not None and left <= 0):
                    break
                if lacking := _lacking(item, passed_over, data):
                    print(f"{item.name}: waits for {', '.join(lacking)}", flush=True)
                    passed_over.add(item.name)
                elif len(running) < jobs and not _blocked(item, [*running.values(), *waiting[: waiting.index(item)]]):
                    print(f"{item.name} ...", flush=True)
                    running[pool.submit(_timed, item, data[item.data], out, left, env, stop, jobs)] = item
                else:
                    continue
                waiting.remove(item)
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                item, found = running.pop(done), done.result()
                line = {"item": item.name, **found, "command": item.command_line, "operations": item.operations, **call}
                with open(out / "runs.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(
                    f"{item.name}: {found['status']} after {found['seconds']:.1f} s", found.get("why", ""), flush=True
                )
                if found["status"] != "done":
                    passed_over.add(item.name)
    if waiting and not stop.is_set():
        print("The budget is spent; the same call goes on.", flush=True)


def _lacking(item: PlanItem, passed_over: Collection[str], data: Mapping[str, str]) -> list[str]:
    """What an item needs that this call does not provide: skipped items, or data."""
    lacking = [need for need in item.needs if need in passed_over]
    return lacking or ([] if item.data in data else [f"--data {item.data}:DIR"])


def _blocked(item: PlanItem, before: Sequence[PlanItem]) -> bool:
    """Whether one of the items before it has to be finished first, or writes the same file."""
    return any(other.name in item.needs or other.makes == item.makes for other in before)


def _timed(
    item: PlanItem,
    data: str,
    out: Path,
    seconds: float | None,
    env: Mapping[str, str] | None,
    stop: threading.Event,
    jobs: int,
) -> dict[str, Any]:
    """Run an item; its record: status, seconds, and an audit's figures."""
    began, used = time.monotonic(), _processor_seconds()
    status, why = run(item, data, out, seconds, env=env, stop=stop)
    record: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began, 2)}
    if jobs == 1:
        record["processor seconds"] = round(_processor_seconds() - used, 2)
    if status == "done" and item.command[0] == "audit":
        record["figures"] = figures(out / item.makes)
    return record | ({"why": why} if why else {})


def _processor_seconds() -> float:
    """The processor seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(path: Path) -> dict[str, Any]:
    """An audit's summary: n, and for each attack the average and the worst class with their intervals."""
    found = json.loads(path.read_text(encoding="utf-8"))
    attacks = {
        name: {key: each[key] for key in ("average", "worst")} | {"classes": [c["value"] for c in each["classes"]]}
        for name, each in found["attacks"].items()
    }
    return {"n": found["data"]["n"], "engine": found["engine"], "attacks": attacks}


def copied(plan: Plan, given: Path | None, out: Path, items: Sequence[PlanItem]) -> None:
    """Copy external networks' weights and the modules that define them into the folder of all runs.

    Raises:
        InputError: a file is needed, and is neither there nor in `given`.
    """
    words = {word for item in items for word in item.command}
    for name, entry in plan.content.get("given", {}).items():
        if not words & {plan.networks[name].place, *entry["says"]}:
            continue
        for file in (entry["file"], *entry["modules"]):
            if (out / file).exists():
                continue
            if given is None or not (given / file).is_file():
                raise InputError(f"{name} needs the file {file}; name its folder with --given")
            part = out / f"{file}.part"
            shutil.copyfile(given / file, part)
            part.replace(out / file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=PLAN, help="the plan; unset: benchmarks/experiments/runs.yaml")
    parser.add_argument("--stage", nargs="+", default=[], help="these stages of the plan, and what they need")
    parser.add_argument("--data", action="append", default=[], help="cifar10:DIR; again for cifar100:DIR")
    parser.add_argument("--given", type=Path, help="the folder of the external networks of the plan")
    parser.add_argument("--out", type=Path, help="the folder of all runs")
    parser.add_argument("--budget", type=float, help="seconds; unset: until all is done")
    parser.add_argument("--jobs", type=int, default=1, help="items at once")
    parser.add_argument("--only", nargs="+", default=[], help="items by name or pattern, and what they need")
    parser.add_argument("--scale", default="paper", help="paper, small (a CPU) or toy (the tests)")
    parser.add_argument(
        "--source", type=Path, default=SOURCE, help="the code to run, a checkout's src; unset: this one's"
    )
    parser.add_argument("--rate", type=float, help="operations per second, such as 300e12")
    parser.add_argument("--list", action="store_true", help="show the items, their costs and states")
    parser.add_argument("--dry-run", action="store_true", help="show the commands of items that are not finished")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        parser.error(f"--jobs is how many items run at once, 1 or more, not {given.jobs}")
    made = environment(pick_device("auto"))
    if SOURCE not in Path(faal.__file__).parents:
        parser.error(f"faal is that of {Path(faal.__file__).parent}; PYTHONPATH={SOURCE} takes this checkout's")
    try:
        plan = Plan(read_yaml(given.plan), given.scale, given.plan.name)
        items = plan.wanted(given.only, given.stage)
    except InputError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--plan {given.plan} cannot be read: {error}")
    out = None if given.out is None else given.out.resolve()
    if given.list:
        rates = plan.content.get("rates") or measured_rates(MEASURED, made["device"])
        print(listing(items, out, rates, given.rate))
        return
    if given.dry_run:
        log = records(out)
        print("\n".join(item.command_line for item in items if not finished(item, out, log)))
        return
    if out is None or not given.data:
        parser.error("--data and --out are needed to run; --list shows the plan without them")
    named = {spec.partition(":")[0]: _absolute(spec) for spec in given.data}
    if plan.changes.get("any_data"):
        named = dict.fromkeys(plan.content["data"], _absolute(given.data[0]))
    out.mkdir(parents=True, exist_ok=True)
    try:
        copied(plan, given.given, out, items)
    except InputError as error:
        parser.error(str(error))
    commit = made["commit"] if given.source == SOURCE else commit_of(given.source)
    work(items, named, out, budget=given.budget, device=made["device"], commit=commit, jobs=given.jobs,
         env=commands_environment(plan.content.get("threads"), given.source))  # fmt: skip


def commit_of(source: Path) -> str:
    """The commit of the checkout of which `source` is a folder."""
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _absolute(data: str) -> str:
    """The value of `--data` with an absolute path, for a command that runs in another folder."""
    kind, colon, place = data.partition(":")
    return f"{kind}:{Path(place).resolve()}" if colon and Path(place).exists() else data


if __name__ == "__main__":
    main()
