"""Single bits flipped in files that a run or an audit has written: rejected, the same result, or a changed one."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recording.facts import audit_digests, run_digests, weights_digest
from benchmarks.recording.parts import toy
from benchmarks.recording.samples import AUDIT, SAMPLES
from benchmarks.recording.surface import Surface
from benchmarks.reliability.commands import Outcome, call, command
from benchmarks.reliability.forked import OFTEN, Forked, forked, import_all
from benchmarks.reliability.kills import TOY, progress

import faal

TRAIN = ("train", "digits-small-faal-at", "--epochs", "2", "--width", "4", "--steps", "1", *TOY, "--out", "out")
ATTACKS = ("--attacks", "clean,pgd10", *AUDIT)
JUDGE = ("audit", "run", *ATTACKS, "--out", "audit")
OTHER = ("audit", "repaired", *ATTACKS, "--out", "other")
COMPARE = ("compare", "one=audit", "other=other")
RESULTS = ("audit.json", "verdicts.npz", "examples.npz")
Effect = tuple[str, str]
"""`rejected`, `same` or `changed`, and the message."""


def prepare(surface: Surface, base: Path) -> None:
    """A folder with a finished run (`done`), one that was killed (`out`) and two audits."""
    toy(base)
    for name in ("run", "repaired"):
        shutil.copytree(SAMPLES / name, base / name)
    forked(surface, base, *TRAIN)
    until = progress(base / "out") - 6
    (base / "out").rename(base / "done")
    begun = Forked(base, surface.environment, *TRAIN)
    while begun.poll() is None and progress(base / "out") < until:
        time.sleep(OFTEN)
    begun.kill()
    if begun.wait() >= 0:
        raise RuntimeError("the run ended before it was killed")
    for words in (JUDGE, OTHER):
        forked(surface, base, *words)


def use_best(here: Path) -> tuple[Outcome, Any]:
    """The weights of `best.pt`, as `faal.load_model` returns them."""
    found: list[str] = []
    outcome = call(lambda: found.append(weights_digest(faal.load_model(str(here / "done" / "best.pt")).state_dict())))
    return outcome, found


def use_last(here: Path) -> tuple[Outcome, Any]:
    """The weights and the log of the run that continues from `last.pt`."""
    outcome = command(here, *TRAIN)
    return outcome, outcome.status or run_digests(here / "out")


def use_block(here: Path) -> tuple[Outcome, Any]:
    """The verdicts and figures of the audit that continues from its blocks."""
    for name in RESULTS:
        (here / "audit" / name).unlink()
    outcome = command(here, *JUDGE)
    return outcome, outcome.status or audit_digests(here / "audit")


def use_verdicts(here: Path) -> tuple[Outcome, Any]:
    """What `compare` prints."""
    outcome = command(here, *COMPARE)
    return outcome, outcome.output


USES: dict[str, tuple[str, Callable[[Path], tuple[Outcome, Any]]]] = {
    "best.pt": ("done/best.pt", use_best),
    "last.pt": ("out/last.pt", use_last),
    "verdicts.npz": ("audit/verdicts.npz", use_verdicts),
    "block": ("audit/blocks/*.npz", use_block),
}
"""Kind of file -> where it is, and its use."""


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """Flip `n` bits, each in a fresh copy, in turn in the four kinds of files, and use the file.

    Raises:
        RuntimeError: a use fails, or says nothing, while nothing is flipped.
    """
    rng = random.Random(seed)
    import_all()
    base, here = work / "base", work / "flipped"
    prepare(surface, base)
    expected = {}
    for kind, (_, use) in USES.items():
        shutil.copytree(base, here)
        outcome, expected[kind] = use(here)
        shutil.rmtree(here)
        if outcome.status or not expected[kind]:
            raise RuntimeError(f"the use of {kind} fails with nothing flipped: {outcome.message}")
    rows = []
    for number in range(n):
        kind = list(USES)[number % len(USES)]
        pattern, use = USES[kind]
        shutil.copytree(base, here)
        place = flip(rng.choice(sorted(here.glob(pattern))), rng)
        result, message = effect(*use(here), expected[kind])
        rows.append({"file": kind, "byte": place, "result": result, "message": message.replace(str(here), "DIR")})
        if result == "changed":
            print(f"flip {number + 1} of {n}: {rows[-1]}", flush=True)
        shutil.rmtree(here)
    return {
        "flips": n,
        "changed": sum(row["result"] == "changed" for row in rows),
        "by file": {kind: dict(Counter(row["result"] for row in rows if row["file"] == kind)) for kind in USES},
        "messages": {kind: next((row["message"] for row in rows if row["file"] == kind and row["message"]), "")
                     for kind in USES},
        "rows of changed": [row for row in rows if row["result"] == "changed"],
    }  # fmt: skip


def flip(file: Path, rng: random.Random) -> int:
    """Flip one bit of a file; returns the number of its byte."""
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return place


def effect(outcome: Outcome, found: Any, expected: Any) -> Effect:
    """What a flipped bit did; whatever is neither a sentence nor the same result counts as changed."""
    if outcome.status == 2 and outcome.in_words:
        return "rejected", outcome.message
    return ("same" if outcome.status == 0 and found == expected else "changed"), outcome.message
