"""Two commands into one folder at nearly the same time: one writes, the other is refused and names it."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.recording.parts import toy
from benchmarks.recording.samples import AUDIT, SAMPLES
from benchmarks.recording.surface import Surface
from benchmarks.reliability.kills import TOY

TRAIN = ("train", "digits-small-pgd-at", "--epochs", "4", "--width", "4", *TOY)
PAIRS = {
    "train, train": (TRAIN, TRAIN),
    "train, other settings": (TRAIN, (*TRAIN[:3], "6", *TRAIN[4:])),
    "audit, other epsilon": (("audit", "run", "--attacks", "clean,pgd50,cw50", *AUDIT),
                             ("audit", "run", "--attacks", "clean,pgd50,cw50", "--epsilon", "0.1", *AUDIT)),
    "train, audit": (TRAIN, ("audit", "run", "--attacks", "clean,pgd50", *AUDIT)),
}  # fmt: skip


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """`n` pairs, the second command up to half a second after the first, or before it."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        name = list(PAIRS)[number % len(PAIRS)]
        here = work / f"pair-{number}"
        toy(here)
        shutil.copytree(SAMPLES / "run", here / "run")
        processes = []
        for words in PAIRS[name]:
            processes.append(_begun(surface, here, *words, "--out", "out"))
            time.sleep(rng.uniform(0, 0.5))
        ended = [(process.communicate()[1], process.returncode) for process in processes]
        codes = [code for _, code in ended]
        sentence = next((text.strip().splitlines()[-1] for text, code in ended if code == 2), "")
        refused = sorted(codes) == [0, 2] and "is being written by" in sentence and "Traceback" not in sentence
        rows.append({"pair": name, "exit statuses": codes, "refused": refused})
        print(f"pair {number + 1} of {n}: {name}: {codes}", flush=True)
        shutil.rmtree(here)
    return {"pairs": n, "refused": sum(row["refused"] for row in rows), "sentence": sentence, "rows": rows}


def _begun(surface: Surface, folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "faal", *words]
    environment = surface.environment
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
