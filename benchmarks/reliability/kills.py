"""Processes that are killed at random moments, and whether the same command then ends as one that was not killed."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.recording.facts import Facts, audit_digests, run_digests, value_digest
from benchmarks.recording.parts import toy
from benchmarks.recording.samples import AUDIT, SAMPLES
from benchmarks.recording.surface import Surface
from benchmarks.reliability.forked import OFTEN, Forked, forked, import_all
from benchmarks.reliability.living import alive, descendants

METHODS = ("pgd-at", "trades", "mart", "faal-at", "faal-at-awp", "faal-trades", "cfa-at", "wat", "faal-bat")
FLOAT32 = ("--precision", "float32", "--device", "cpu", "--seed", "1")
TOY = ("--data", "npz:toy.npz", "--checkpoint-every", "0", "--log-every", "1", *FLOAT32)
SHORT = ("--epochs", "2", "--steps", "2", *TOY)

WORK = {
    **{f"train {method}": ("train", f"digits-small-{method}", "--width", "4", *SHORT) for method in METHODS},
    "audit": ("audit", "run", "--attacks", "clean,pgd20,cw10", *AUDIT),
    "repair --frontier": ("repair", "base", "digits-small-faal-at-repair", "--frontier", "--force", *SHORT),
}
DEMO = "demo"
"""At a smaller size. Its main process alone is killed, and its workers have to end by themselves."""

SMALL_DEMO = (sys.executable, "-m", "benchmarks.reliability.small_demo", "--out", "out")
DEMO_KILLS = 4
"""One in each quarter of its work, in one folder."""

WORKERS_END = 30.0
"""Seconds within which workers have to end after their parent."""


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """Kill each kind of work in turn, `n` times in all, and continue it to its end; from 40 kills on the demo too."""
    rng = random.Random(seed)
    import_all()
    demo = DEMO_KILLS if n >= 40 else 0
    rows = []
    for number in range(n - demo):
        rows.append(_one(surface, work, list(WORK)[number % len(WORK)], number, rng))
        print(f"kill {number + 1} of {n}: {rows[-1]}", flush=True)
    rows += _demo(surface, work, rng) if demo else []
    return {
        "kills": len(rows),
        "endings": sum(row["ended"] for row in rows),
        "equal": sum(row["ended"] and not row["differ"] for row in rows),
        "processes left": sum(row["processes left"] for row in rows),
        "rows": rows,
    }


def _one(surface: Surface, work: Path, name: str, number: int, rng: random.Random) -> dict[str, Any]:
    """One kill in a folder of its own, and its ending."""
    reference = work / "references" / name.replace(" ", "-")
    command = (*WORK[name], "--out", "out")
    if not reference.exists():
        _prepared(surface, reference, name, work / "base")
        forked(surface, reference, *command)
    whole, at = progress(reference / "out"), None
    while at is None:
        here = _prepared(surface, work / f"kill-{number}", name, work / "base")
        until, more = rng.randrange(whole), rng.uniform(0, 0.1)
        at, left = _killed(Forked(here, surface.environment, *command), here / "out", until, more)
        if at is None:
            shutil.rmtree(here)
    forked(surface, here, *command)
    differ = differing(facts(reference / "out"), facts(here / "out"))
    shutil.rmtree(here)
    return {"work": name, "progress": f"{at} of {whole}", "processes left": left, "ended": True, "differ": differ}


def _demo(surface: Surface, work: Path, rng: random.Random) -> list[dict[str, Any]]:
    """The demo, whose main process is killed again and again before it ends, and one that is not killed."""

    def begun(folder: Path) -> "subprocess.Popen[bytes]":
        folder.mkdir(exist_ok=True)
        quiet = subprocess.DEVNULL
        return subprocess.Popen(SMALL_DEMO, cwd=folder, env=environment, stdout=quiet, stderr=quiet)

    environment = surface.environment | {"PYTHONPATH": f"{surface.source}{os.pathsep}{surface.tree}"}
    reference, here, rows = work / "demo", work / "demo-killed", []
    if status := begun(reference).wait():
        raise RuntimeError(f"the demo ended with {status}")
    whole = progress(reference / "out")
    for kill in range(DEMO_KILLS):
        until = int(whole * (kill + rng.random()) / DEMO_KILLS)
        at, left = _killed(begun(here), here / "out", until, rng.uniform(0, 1))
        if at is None:
            raise RuntimeError("the demo ended before it could be killed")
        row = {"work": DEMO, "progress": f"{at} of {whole}", "processes left": left, "ended": False, "differ": []}
        rows.append(row)
        print(f"kill of the demo: {row}", flush=True)
    status = begun(here).wait()
    differ = differing(facts(reference / "out"), facts(here / "out"))
    rows[-1] |= {"ended": True, "differ": [f"exit status {status}"] * bool(status) + differ}
    print(f"ending of the demo: {rows[-1]}", flush=True)
    return rows


def _prepared(surface: Surface, here: Path, name: str, base: Path) -> Path:
    """A folder with what the command reads."""
    here.parent.mkdir(parents=True, exist_ok=True)
    if WORK[name][0] == "audit":
        shutil.copytree(SAMPLES, here)
        return here
    toy(here)
    if WORK[name][0] == "repair":
        if not base.exists():
            forked(surface, here, "train", "digits-small-pgd-at", "--width", "4", *SHORT, "--out", str(base))
        shutil.copytree(base, here / "base")
    return here


def _killed(process: "Forked | subprocess.Popen[bytes]", out: Path, until: int, more: float) -> tuple[int | None, int]:
    """Kill a command some seconds after it has come so far; returns how far it was, and the processes that are left.

    At the beginning the moment is one within its first seconds. Where it ended before, there is no kill: None.
    """
    while process.poll() is None and progress(out) < until:
        time.sleep(OFTEN)
    time.sleep(more if until else 10 * more)
    children = descendants(process.pid)
    process.kill()
    if process.wait() >= 0:
        return None, 0
    limit = time.monotonic() + WORKERS_END
    while (left := [child for child in children if alive(child)]) and time.monotonic() < limit:
        time.sleep(0.05)
    return progress(out), len(left)


def progress(out: Path) -> int:
    """How far work has come: lines of all its logs, stored blocks and checkpoints."""
    if not out.is_dir():
        return 0
    lines = sum(file.read_bytes().count(b"\n") for file in out.rglob("*.jsonl"))
    return lines + len(list(out.rglob("blocks/*.npz"))) + len(list(out.rglob("*.pt")))


def facts(out: Path) -> Facts:
    """What kills must not change: weights and logs of runs, verdicts and figures of audits, points of a frontier,
    the figures of a demo, and which files there are: none that a dead process has left. TensorBoard's have the time in
    their names."""
    found: Facts = {}
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        name, folder = str(file.relative_to(out)), file.parent
        place = folder.relative_to(out)
        if "tensorboard" not in place.parts:
            found[name] = ""
        if file.name == "best.pt":
            found |= {f"{place}/{key}": what for key, what in run_digests(folder).items()}
        elif file.name == "verdicts.npz":
            found |= {f"{place}/{key}": what for key, what in audit_digests(folder).items()}
        elif file.name in ("frontier.json", "demo.json"):
            found[name] = value_digest(json.loads(file.read_text(encoding="utf-8")))
    return found


def differing(expected: Facts, found: Facts) -> list[str]:
    """The first names of what differs, or is on one side only."""
    return sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))[:5]
