"""Processes that are killed at random moments, and whether the same command then ends as one that was not killed."""

import json
import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recording.facts import Facts, audit_digests, run_digests, value_digest
from benchmarks.recording.parts import toy
from benchmarks.recording.samples import AUDIT, SAMPLES
from benchmarks.recording.surface import Surface

METHODS = ("pgd-at", "trades", "mart", "faal-at", "faal-at-awp", "faal-trades", "cfa-at", "wat", "faal-bat")
FLOAT32 = ("--precision", "float32", "--device", "cpu", "--seed", "1")
TOY = ("--data", "npz:toy.npz", "--checkpoint-every", "0", "--log-every", "1", *FLOAT32)

WORK = {
    **{
        f"train {method}": ("train", f"digits-small-{method}", "--epochs", "2", "--width", "4", "--steps", "2", *TOY)
        for method in METHODS
    },
    "audit": ("audit", "run", "--attacks", "clean,pgd20,cw10", *AUDIT),
    "repair --frontier": (
        "repair",
        "base",
        "digits-small-faal-at-repair",
        "--epochs",
        "2",
        "--steps",
        "2",
        "--frontier",
        *TOY,
    ),
}
DEMO = "demo, its main process only"
"""Its workers have to end by themselves."""

WORK[DEMO] = ("demo", "--seeds", "2", "--device", "cpu")
WORKERS_END = 30.0
"""Seconds within which workers have to end after their parent."""


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """Kill each kind of work in turn, `n` times in all, one kill to a folder, and continue it to its end."""
    rng = random.Random(seed)
    kinds = [name for name in WORK if name != DEMO or n >= len(WORK)]
    expected: dict[str, Facts] = {}
    rows = []
    for number in range(n):
        name = kinds[number % len(kinds)]
        if name not in expected:
            rows_of_reference = _prepared(surface, work / "references", name)
            surface.faal(rows_of_reference, *WORK[name], "--out", "out")
            expected[name] = _facts(rows_of_reference / "out")
        here = _prepared(surface, work / f"kill-{number}", name)
        at, left = _killed(surface, here, name, rng, _progress(work / "references" / _folder(name) / "out"))
        surface.faal(here, *WORK[name], "--out", "out")
        found = _facts(here / "out")
        differ = sorted(
            key for key in expected[name].keys() | found.keys() if expected[name].get(key) != found.get(key)
        )
        rows.append({"work": name, "progress": at, "workers left": left, "equal": not differ, "differ": differ[:5]})
        print(f"kill {number + 1} of {n}: {name} at {at}, {'equal' if not differ else differ[:3]}", flush=True)
        shutil.rmtree(here)
    return {"kills": len(rows), "equal": sum(row["equal"] and not row["workers left"] for row in rows), "rows": rows}


def _folder(name: str) -> str:
    return name.replace(" ", "-").replace(",", "")


def _prepared(surface: Surface, where: Path, name: str) -> Path:
    """A folder with what the command reads."""
    here = where / _folder(name) if where.name == "references" else where
    here.parent.mkdir(parents=True, exist_ok=True)
    if WORK[name][0] == "audit":
        shutil.copytree(SAMPLES, here)
    else:
        toy(here)
    if WORK[name][0] == "repair":
        base = where.parent / "base"
        if not base.exists():
            surface.faal(
                here, "train", "digits-small-pgd-at", "--epochs", "2", "--width", "4", *TOY, "--out", str(base)
            )
        shutil.copytree(base, here / "base")
    return here


def _killed(surface: Surface, here: Path, name: str, rng: random.Random, whole: int) -> tuple[str, int]:
    """Kill the command at a random point of its progress; returns the point, and the number of processes left."""
    until, more = rng.randrange(whole), rng.uniform(0, 0.3)
    process = surface.begun(here, *WORK[name], "--out", "out")
    while process.poll() is None and _progress(here / "out") < until:
        time.sleep(0.005)
    time.sleep(more if until else more + 2 * rng.random())
    children = _descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    ended = process.wait()
    if ended != -signal.SIGKILL:
        return "its end", 0  # it ended just before
    limit = time.monotonic() + WORKERS_END
    while (left := [child for child in children if _alive(child)]) and time.monotonic() < limit:
        time.sleep(0.05)
    return f"{until} of {whole}", len(left)


def _progress(out: Path) -> int:
    """How far work has come: lines of all its logs and stored blocks."""
    if not out.is_dir():
        return 0
    lines = sum(file.read_bytes().count(b"\n") for file in out.rglob("*.jsonl"))
    return lines + len(list(out.rglob("blocks/*.npz"))) + len(list(out.rglob("*.pt")))


def _facts(out: Path) -> Facts:
    """What kills must not change: weights and logs of runs, verdicts and figures of audits, points of a frontier."""
    facts: Facts = {}
    for file in sorted(out.rglob("*")):
        place = str(file.relative_to(out).parent)
        if file.name == "best.pt":
            facts |= {f"{place}/{key}": what for key, what in run_digests(file.parent).items()}
        elif file.name == "verdicts.npz":
            facts |= {f"{place}/{key}": what for key, what in audit_digests(file.parent).items()}
        elif file.name in ("frontier.json", "demo.json"):
            facts[f"{place}/{file.name}"] = value_digest(json.loads(file.read_text(encoding="utf-8")))
    return facts


def _descendants(process: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _status(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [process]
    while waiting:
        own = parents.get(waiting.pop(), [])
        found += own
        waiting += own
    return found


def _status(process: int) -> Sequence[str]:
    """State, parent and so on of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return ()


def _alive(process: int) -> bool:
    fields = _status(process)
    return bool(fields) and fields[0] != "Z"
