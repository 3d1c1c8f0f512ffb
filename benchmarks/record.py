"""A record of what the program does, with which a later state of the code is compared, line by line.

    python -m benchmarks.record write record.txt --jobs 2           # about ten minutes on two cores
    python -m benchmarks.record compare record.txt --jobs 2         # a later state, on the same machine
    python -m benchmarks.record compare record.txt --tree DIR       # that of another checkout
    python -m benchmarks.record write FILE --only options,recipes   # some parts; `compare` takes those of its file

The parts `methods`, `variants` and `audits` train and audit. They do so in N processes of `torchrun` with
`--processes N`, for the record and for the comparison. With `--stopped-by DIR` each of their commands is begun by
another checkout, which is interrupted, begins again and is killed; then the present code continues it:

    python -m benchmarks.record write two.txt --tree GROUND --only methods,audits --processes 2
    python -m benchmarks.record compare two.txt --processes 2
    python -m benchmarks.record write ground.txt --tree GROUND --only methods,variants,audits
    python -m benchmarks.record compare ground.txt --stopped-by GROUND

A line is one fact, `PART/WHERE = WHAT`, or `PART/WHERE` where something exists; lines are sorted, and those that begin
with `#` (machine, commit) are not compared. `compare` prints the lines that differ, `-` of the record and `+` of the
present state, and ends with status 1 where there are any. The parts, in `recording/parts.py`, use the program through
its command line, the public names of `import faal` and its files alone, so that modules may move between the two.

Weights and verdicts depend on the machine and on PyTorch. The parts in `ANYWHERE` do not, and
`benchmarks/results/record.txt` has those:

    python -m benchmarks.record write benchmarks/results/record.txt --only keys,options,recipes,samples
"""

import argparse
import difflib
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from benchmarks.recording.facts import Facts
from benchmarks.recording.parts import PARTS
from benchmarks.recording.surface import Surface


def header(tree: Path, parts: Iterable[str]) -> list[str]:
    """The lines that are not compared: code, machine, versions and parts."""
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
    names = Path("/proc/cpuinfo")
    models = [line for line in names.read_text().splitlines() if "model name" in line] if names.exists() else []
    processor = models[0].partition(":")[2].strip() if models else platform.processor()
    return [
        f"# commit {commit}",
        f"# processor {processor}, {platform.machine()}, {platform.system()}",
        f"# Python {platform.python_version()}, torch {torch.__version__}, one thread in each process",
        f"# parts {' '.join(parts)}",
    ]


def lines_of(facts: Mapping[str, str]) -> list[str]:
    """One line a fact, sorted."""
    return sorted(f"{where} = {' '.join(what.split())}" if what else where for where, what in facts.items())


def read(file: Path) -> list[str]:
    """The facts of a record, without its header."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{file} is no record: {error}") from None
    return sorted(line for line in lines if line and not line.startswith("#"))


def parts_in(lines: Iterable[str]) -> set[str]:
    """The parts that a record has facts of."""
    return {line.partition("/")[0] for line in lines}


def difference(before: list[str], after: list[str]) -> list[str]:
    """The lines that are in one record only, `-` or `+` before each, in order."""
    found = difflib.unified_diff(before, after, "record", "now", lineterm="", n=0)
    return [line for line in found if not line.startswith("@@")]


def gather(surface: Surface, parts: Iterable[str], jobs: int) -> tuple[Facts, bool]:
    """The facts of some parts, `jobs` tasks at a time, and whether every task finished."""
    facts: Facts = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        running = []
        for part in parts:
            for name, task in PARTS[part](surface, Path(folder) / part).items():
                running.append(pool.submit(timed, f"{part}/{name}", task))
        outcomes = [future.result() for future in running]
    for found, _ in outcomes:
        facts |= found
    return facts, all(finished for _, finished in outcomes)


def timed(name: str, task: Callable[[], Facts]) -> tuple[Facts, bool]:
    """A task's facts, each with its part before it, and whether it finished; its time is printed."""
    part, begin, failed = name.partition("/")[0], time.monotonic(), ""
    try:
        facts = task()
    except Exception as error:
        failed = f" failed: {error} {getattr(error, 'stderr', '') or ''}"
        facts = {f"{name.partition('/')[2]}/failed": type(error).__name__}
    print(f"{name}: {time.monotonic() - begin:.0f} s{failed}", file=sys.stderr, flush=True)
    return {f"{part}/{where}": what for where, what in facts.items()}, not failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("file", type=Path, help="the record")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1], help="the checkout; this one if unset")
    parser.add_argument("--only", help="some parts, with commas between; all, or those of the record, if unset")
    parser.add_argument(
        "--processes", type=int, default=0, help="of each training and audit, by torchrun; 0: without it"
    )
    parser.add_argument("--stopped-by", type=Path, help="a checkout that begins each training and audit; none if unset")
    parser.add_argument("--jobs", type=int, default=2, help="tasks side by side, each with one thread")
    arguments = parser.parse_args()
    before = read(arguments.file) if arguments.action == "compare" else []
    wanted = set(arguments.only.split(",")) if arguments.only else parts_in(before) or set(PARTS)
    if unknown := wanted - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(sorted(PARTS))}")
    parts = [part for part in PARTS if part in wanted]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and theirs, ignore interrupts
    surface = Surface(arguments.tree, processes=arguments.processes, stopped_by=arguments.stopped_by)
    begin = time.monotonic()
    facts, complete = gather(surface, parts, arguments.jobs)
    after = lines_of(facts)
    took = f"{len(after)} facts in {time.monotonic() - begin:.0f} s"
    if arguments.action == "write":
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        arguments.file.write_text("\n".join([*header(arguments.tree, parts), *after]) + "\n", encoding="utf-8")
        print(f"{arguments.file}: {took}")
        return 0 if complete else 1
    differ = difference([line for line in before if line.partition("/")[0] in wanted], after)
    print("\n".join(differ) if differ else f"equal: {took}")
    return 1 if differ or not complete else 0


if __name__ == "__main__":
    sys.exit(main())
