"""Two commands into one folder at nearly the same time: one writes as if alone, the other is refused."""

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recording.parts import toy
from benchmarks.recording.samples import AUDIT, SAMPLES
from benchmarks.recording.surface import Surface
from benchmarks.reliability.forked import Forked, forked, import_all
from benchmarks.reliability.kills import TOY, differing, facts

TRAIN = ("train", "digits-small-pgd-at", "--epochs", "4", "--width", "4", *TOY)
LONGER = ("train", "digits-small-pgd-at", "--epochs", "5", "--width", "4", *TOY)
JUDGE = ("audit", "run", "--attacks", "clean,pgd50,cw50", *AUDIT)
PAIRS = {
    "train, the same": (TRAIN, TRAIN),
    "train, other settings": (TRAIN, LONGER),
    "audit, another epsilon": (JUDGE, (*JUDGE, "--epsilon", "0.1")),
    "train, audit": (TRAIN, JUDGE),
}


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """`n` pairs, the second command up to half a second after the first; which is the first is drawn."""
    rng = random.Random(seed)
    import_all()
    alone = {
        words: work / f"alone-{number}"
        for number, words in enumerate((TRAIN, LONGER, *PAIRS["audit, another epsilon"]))
    }
    rows: list[dict[str, Any]] = []
    for number in range(n):
        name = list(PAIRS)[number % len(PAIRS)]
        commands = rng.sample(PAIRS[name], 2)
        for words in commands:
            if not alone[words].exists():
                forked(surface, _prepared(alone[words]), *words, "--out", "out")
        here = _prepared(work / f"pair-{number}")
        processes = []
        for which, words in enumerate(commands):
            errors = here / f"errors-{which}.txt"
            processes.append(Forked(here, surface.environment, *words, "--out", "out", errors=errors))
            time.sleep(rng.uniform(0, 0.5) * (1 - which))
        codes = [process.wait() for process in processes]
        refused, sentence = judged(codes, [(here / f"errors-{which}.txt").read_text() for which in range(2)])
        differ = differing(facts(alone[commands[codes.index(0)]] / "out"), facts(here / "out")) if refused else []
        rows.append({"pair": name, "exit statuses": codes, "refused": refused, "differ": differ, "sentence": sentence})
        print(f"pair {number + 1} of {n}: {rows[-1]}", flush=True)
        shutil.rmtree(here)
    whole = sum(row["refused"] and not row["differ"] for row in rows)
    named = sum("is being written by `faal" in row["sentence"] for row in rows)
    return {"pairs": n, "refused": sum(row["refused"] for row in rows), "whole": whole, "named": named, "rows": rows}


def judged(codes: Sequence[int], errors: Sequence[str]) -> tuple[bool, str]:
    """Whether exactly one command was refused, in a sentence on the folder, and that sentence."""
    lines = [text.strip().splitlines() for text, code in zip(errors, codes, strict=True) if code == 2]
    sentence = lines[0][-1] if lines and lines[0] else ""
    speaks = sentence.startswith("faal: out ") and not any("Traceback" in text for text in errors)
    return sorted(codes) == [0, 2] and speaks, sentence


def _prepared(here: Path) -> Path:
    toy(here)
    shutil.copytree(SAMPLES / "run", here / "run")
    return here
