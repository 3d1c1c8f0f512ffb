"""Keep what a later machine needs to continue the runs of a plan, in a small folder, and put it back.

    python -m benchmarks.experiments.kept pack OUT benchmarks/results/kept
    python -m benchmarks.experiments.kept unpack benchmarks/results/kept OUT

`pack` is called after `python -m benchmarks.experiments.evidence OUT`, which has the figures of all finished items. It
takes the record of the runs, the networks that items which are not finished need, the finished blocks of their audits,
and the verdicts that are compared with theirs. Items whose files it leaves out count as finished. `unpack` copies the
folder to where the runner continues, and overwrites nothing.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from benchmarks.experiments.evidence import PLAN, VERDICTS
from benchmarks.experiments.plan import Plan
from benchmarks.experiments.state import finished, records

RUNS = "runs.jsonl"
LEFT_OUT = ("last.pt", "previous.pt", "metrics.jsonl", "environment.json", "report.html", "*.svg", "*.pdf", "*.png")
"""Of a finished network's folder: what no later item reads."""


def pack(plan: Plan, out: Path, to: Path) -> list[str]:
    """Replace the folder `to` by what the plan's items that are not finished need; returns these items' names."""
    log = records(out)
    unfinished = [item for item in plan.items.values() if not finished(item, out, log)]
    if to.exists():
        shutil.rmtree(to)
    to.mkdir(parents=True)
    for path in sorted(set(_needed(plan, out, [item.name for item in unfinished]))):
        target = to / path.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "audit.json":  # its command names the folder of this machine
            target.write_text(path.read_text(encoding="utf-8").replace(str(out.resolve()), "OUT"), encoding="utf-8")
        else:
            shutil.copyfile(path, target)
    names = {item.name for item in unfinished}
    lines = [line | ({} if line["item"] in names else {"collected": True}) for line in log]
    (to / RUNS).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return sorted(names)


def _needed(plan: Plan, out: Path, unfinished: Sequence[str]) -> Iterator[Path]:
    """The files in `out` that unfinished items read."""
    for item in (plan.items[name] for name in unfinished):
        for need in item.needs:
            folder = (out / plan.items[need].makes).parent
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.is_file() and not any(path.match(pattern) for pattern in LEFT_OUT):
                    yield path
        if item.command[0] == "audit":
            folder = (out / item.makes).parent
            yield from (path for path in folder.glob("blocks/*") if path.is_file())
            yield from (out / name / VERDICTS for name in item.needs if (out / name / VERDICTS).exists())


def unpack(kept: Path, out: Path) -> int:
    """Copy the files of `kept` that `out` lacks; returns their number."""
    copied = 0
    for path in sorted(path for path in kept.rglob("*") if path.is_file()):
        target = out / path.relative_to(kept)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            copied += 1
    return copied


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["pack", "unpack"])
    parser.add_argument("source", type=Path, help="the folder to read")
    parser.add_argument("target", type=Path, help="the folder to write")
    parser.add_argument("--plan", type=Path, default=PLAN, help="the plan; unset: benchmarks/experiments/evidence.yaml")
    given = parser.parse_args(arguments)
    if given.action == "unpack":
        print(f"{given.target}: {unpack(given.source, given.target)} files")
        return
    plan = Plan(yaml.safe_load(given.plan.read_text(encoding="utf-8")), "paper", given.plan.name)
    left = pack(plan, given.source, given.target)
    size = sum(path.stat().st_size for path in given.target.rglob("*") if path.is_file())
    print(f"{given.target}: {size / 1e6:.1f} MB for {len(left)} items")


if __name__ == "__main__":
    main()
