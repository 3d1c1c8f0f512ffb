"""Kills, two writers, flipped bits, hostile files and random input, and what became of each.

    python -m benchmarks.reliability                      # the long form: about an hour on two cores
    python -m benchmarks.reliability --short --only kills # some parts, a few cases of each

The figures go to `benchmarks/results/reliability.json`, and from there to `docs/reliability.md`. The exit status is 1
where something went wrong.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.recording.surface import Surface
from benchmarks.reliability import flips, fuzz, hostile, kills, page, writers

from faal.checkpoint import write_atomically
from faal.engine.environment import environment
from faal.engine.numerics import pick_device

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"
PARTS = {"kills": kills, "writers": writers, "flips": flips, "hostile": hostile, "fuzz": fuzz}
LONG = {"kills": 48, "writers": 20, "flips": 200, "hostile": len(hostile.CASES), "fuzz": 5000}
SHORT = {"kills": 3, "writers": 2, "flips": 8, "hostile": 4, "fuzz": 200}
PROMISED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "kills": lambda found: found["equal"] == found["endings"] > 0 and not found["processes left"],
    "writers": lambda found: found["whole"] == found["refused"] == found["pairs"] > 0,
    "flips": lambda found: found["flips"] > 0 and not found["changed"],
    "hostile": lambda found: found["rejected"] == found["files"] > 0,
    "fuzz": lambda found: found["cases"] > 0 and not found["failures"],
}
"""Whether all cases of a part ended as they should."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few cases of each")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="these parts")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments, bits and inputs")
    parser.add_argument("--to", type=Path, default=RESULTS, help="the file; parts that are not run stay in it")
    given = parser.parse_args(arguments)
    found = json.loads(given.to.read_text(encoding="utf-8")) if given.to.exists() else {}
    torch.set_num_threads(1)  # results depend on it in their last bits, and a fork needs a process without threads
    made = environment(pick_device("cpu"))
    surface, failed = Surface(ROOT), False
    for name in given.only:
        began, n = time.monotonic(), (SHORT if given.short else LONG)[name]
        with tempfile.TemporaryDirectory() as folder:
            result = PARTS[name].measure(surface, Path(folder), n, given.seed)
        command = f"python -m benchmarks.reliability{' --short' * given.short} --only {name} --seed {given.seed}"
        found[name] = {
            "command": command, "seed": given.seed, "seconds": round(time.monotonic() - began),
            "commit": made["commit"], "processor": made["processor"], **result,
        }  # fmt: skip
        write_atomically(given.to, (json.dumps(found, indent=1) + "\n").encode())
        promised = PROMISED[name](result)
        failed |= not promised
        print(f"{name}: {'as promised' if promised else 'NOT as promised'}", flush=True)
    if given.to == RESULTS and not given.short:
        page.write(found, ROOT / "docs" / "reliability.md")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
