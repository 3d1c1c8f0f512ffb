"""Single bits flipped in files that a run or an audit has written: noticed, without effect, or a changed figure."""

import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from benchmarks.recording.facts import Facts, audit_digests, run_digests
from benchmarks.recording.parts import toy
from benchmarks.recording.samples import AUDIT, SAMPLES
from benchmarks.recording.stops import stop_when
from benchmarks.recording.surface import Surface
from benchmarks.reliability.commands import Outcome, command
from benchmarks.reliability.kills import TOY, _progress

import faal
from faal.errors import InputError

TRAIN = ("train", "digits-small-faal-at", "--epochs", "2", "--width", "4", "--steps", "1", *TOY, "--out", "out")
JUDGE = ("audit", "run", "--attacks", "clean,pgd10", *AUDIT, "--out", "audit")
COMPARE = ("compare", "good=good", "flipped=audit")
FILES = ("best.pt", "last.pt", "verdicts.npz", "block")


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """Flip `n` bits, each in a fresh copy, in turn in the four kinds of files, and use the file."""
    rng = random.Random(seed)
    base = toy(work / "flips")
    shutil.copytree(SAMPLES / "run", base / "run")
    done = base / "done"
    surface.faal(base, *TRAIN[:-1], str(done))
    whole = run_digests(done)
    until = _progress(done) - 6
    stop_when(surface.begun(base, *TRAIN), lambda: _progress(base / "out") >= until, signal.SIGKILL)
    surface.faal(base, *JUDGE)
    shutil.copytree(base / "audit", base / "good")
    verdicts, printed = audit_digests(base / "audit"), command(base, *COMPARE).output
    weights = faal.load_model(str(done / "best.pt")).state_dict()
    rows = []
    for number in range(n):
        kind = FILES[number % len(FILES)]
        here = work / "flipped"
        shutil.copytree(base, here)
        file = _file(here, kind, rng)
        place = _flip(file, rng)
        result, message = _effect(here, kind, file, weights, whole, verdicts, printed)
        rows.append({"file": kind, "byte": place, "result": result, "message": message.replace(str(here), "DIR")})
        if result == "changed":
            print(f"flip {number + 1} of {n}: {kind}, byte {place}: {message}", flush=True)
        shutil.rmtree(here)
    counts = {kind: dict(Counter(row["result"] for row in rows if row["file"] == kind)) for kind in FILES}
    changed = [row for row in rows if row["result"] == "changed"]
    messages = {
        kind: next((row["message"] for row in rows if row["file"] == kind and row["message"]), "") for kind in FILES
    }
    return {"flips": n, "changed": len(changed), "by file": counts, "messages": messages, "rows of changed": changed}


def _file(here: Path, kind: str, rng: random.Random) -> Path:
    if kind == "block":
        return rng.choice(sorted((here / "audit" / "blocks").glob("*.npz")))
    return {"best.pt": here / "done", "last.pt": here / "out", "verdicts.npz": here / "audit"}[kind] / kind


def _flip(file: Path, rng: random.Random) -> int:
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return place


def _effect(
    here: Path, kind: str, file: Path, weights: dict[str, torch.Tensor], whole: Facts, verdicts: Facts, printed: str
) -> tuple[str, str]:
    """`noticed`, `none` (the same result) or `changed`, and the message."""
    if kind == "best.pt":
        try:
            found = faal.load_model(str(file)).state_dict()
        except InputError as error:
            return "noticed", str(error)
        same = found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)
        return ("none" if same else "changed"), ""
    if kind == "last.pt":
        outcome = command(here, *TRAIN)
        return _compared(outcome, lambda: run_digests(here / "out") == whole)
    if kind == "block":
        for name in ("audit.json", "verdicts.npz", "examples.npz"):
            (here / "audit" / name).unlink(missing_ok=True)
        outcome = command(here, *JUDGE)
        return _compared(outcome, lambda: audit_digests(here / "audit") == verdicts)
    outcome = command(here, *COMPARE)
    return _compared(outcome, lambda: outcome.output == printed)


def _compared(outcome: Outcome, same: Any) -> tuple[str, str]:
    if outcome.status == 2 and outcome.in_words:
        return "noticed", outcome.message
    if outcome.status != 0:
        return "changed", outcome.message
    return ("none" if same() else "changed"), ""
