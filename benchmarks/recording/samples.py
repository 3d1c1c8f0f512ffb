"""Write the sample folders: results of the program at the commit `a9f9b34`, which every later state has to read.

    git worktree add GROUND a9f9b34
    python -m benchmarks.recording.samples --tree GROUND

writes `benchmarks/samples`, about 430 kB: a run with its audit, that of groups, a curve, a repair, a run and an audit
that were stopped, and an entry of the zoo. They are made once: made again by later code they would test nothing.
"""

import argparse
import json
import shutil
import signal
import tempfile
from pathlib import Path

from benchmarks.recording.stops import stop_when
from benchmarks.recording.surface import Surface
from sklearn.datasets import load_digits

SAMPLES = Path(__file__).parents[1] / "samples"

CPU = ("--data", "digits", "--device", "cpu")
TRAIN = ("--width", "4", "--precision", "float32", *CPU)
AUDIT = ("--engine", "reference", *CPU)

RUN = ("train", "debug", "--epochs", "2", "--out", "run", *TRAIN)
AUDITED = ("audit", "run", "--attacks", "clean,pgd20,cw5x2,autoattack", "--limit", "40", *AUDIT)
GROUPED = (
    "audit", "run", "--attacks", "clean,pgd10", "--norm", "l2", "--epsilon", "0.5", "--groups", "groups.csv",
    "--limit", "60", "--out", "audit", *AUDIT,
)  # fmt: skip
CURVE = ("audit", "run", "--attacks", "clean,pgd10", "--epsilon", "0.1,0.2", "--limit", "40", "--out", "curve", *AUDIT)
REPAIRED = (
    "repair", "run", "digits-small-faal-at-repair", "--epochs", "1", "--steps", "2", "--out", "repaired",
    "--precision", "float32", *CPU,
)  # fmt: skip
REAUDITED = ("audit", "repaired", "--attacks", "clean,pgd20,cw5x2,autoattack", "--limit", "40", *AUDIT)
STOPPED = (
    "train", "debug", "--method", "faal-trades", "--epochs", "2", "--batch-size", "8", "--log-every", "1",
    "--checkpoint-every", "0", "--average", "step", "--out", "stopped", *TRAIN,
)  # fmt: skip
BLOCKS = ("audit", "run", "--attacks", "clean,pgd10", "--out", "blocks", *AUDIT)
PUBLISHED = ("publish", "run", "sample-faal-at", "--data", "digits", "--device", "cpu", "--out", "zoo")
"""The commands that made the samples, in this order; most are also the commands that continue them."""

NEEDLESS = ("report.html", "previous.pt", "tensorboard", "*.svg", "*.pdf", "*.png")
"""Files that are written again, or are a second copy."""


def groups(file: Path) -> None:
    """A table of groups for the images of digits' test part: by their number, three of them."""
    n = len(load_digits().images) - len(load_digits().images) // 2
    file.write_text("site\n" + "".join(f"{'abc'[number % 3]}\n" for number in range(n)), encoding="utf-8")


def stop_within(surface: Surface, work: Path) -> None:
    """Begin a run and end its process in the second epoch, between two steps; `step` counts on through the epochs."""
    log, last = work / "stopped" / "metrics.jsonl", work / "stopped" / "last.pt"

    def reached() -> bool:
        return last.exists() and '"epoch": 1, "step": 12' in log.read_text(encoding="utf-8")

    stop_when(surface.begun(work, *STOPPED), reached, signal.SIGKILL)


def make(surface: Surface, out: Path) -> None:
    """Write the samples into a folder that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stop_within(surface, work)
        groups(work / "groups.csv")
        for command in (RUN, AUDITED, GROUPED, CURVE, REPAIRED, REAUDITED, BLOCKS, PUBLISHED):
            print("faal", *command, flush=True)
            surface.faal(work, *command)
        (work / "repaired" / "last.pt").unlink()
        for name in ("audit.json", "verdicts.npz", "examples.npz"):  # as where its process ended after two blocks
            (work / "blocks" / name).unlink()
        for late in sorted((work / "blocks" / "blocks").glob("*.npz"))[2:]:
            late.unlink()
        shutil.copytree(work, out, ignore=shutil.ignore_patterns(*NEEDLESS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True, help="a checkout of the commit that writes them")
    parser.add_argument("--out", type=Path, default=SAMPLES, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already")
    make(Surface(arguments.tree), arguments.out)
    print(json.dumps({"bytes": sum(file.stat().st_size for file in arguments.out.rglob("*") if file.is_file())}))


if __name__ == "__main__":
    main()
