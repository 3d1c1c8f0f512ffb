"""The paper's repairs of narrow bases that other methods trained: TRADES, MART, TRADES-AWP; and FRL beside them.

    python -m benchmarks.experiments.bases --data cifar10:DIR --out runs/bases

writes `benchmarks/results/bases.json`. Started again after it was stopped, it continues; `--only TRADES` makes the runs
of one base, and the file has all finished runs. `benchmarks/experiments/plus.py` has the repairs of a PGD-AT base.

Neither a base nor its repairs are trained on the images that `hold_out: both` withholds, 8 % of the training set, and
all of them are evaluated on these. Nothing is chosen: every run ends with its last epoch, and the test set is not used.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.experiments.plus import BEHIND, CHOOSING, CPU, against, apart, folder_of, judged, read, repair, table
from benchmarks.experiments.quirks import Arm, some

from faal.config import load_recipe
from faal.data import DataSet, load_data
from faal.engine.environment import environment
from faal.models import Architecture, build_model, open_model
from faal.study.jobs import Job, side_by_side
from faal.train.loop import train

RESULTS = Path(__file__).parents[1] / "results" / "bases.json"

BASE, CONTROL, FAAL, AWP, FRL = "the base", "control: plain AT", "FAAL_AT", "FAAL_AT-AWP", "FRL-RWRM 0.05, six epochs"
REPAIRS = {
    CONTROL: Arm("pgd-at"),
    FAAL: Arm("faal-at"),
    AWP: Arm("faal-at-awp"),
    "FAAL_TRADES": Arm("faal-trades"),
    "FAAL_TRADES-AWP": Arm("faal-trades-awp"),
    FRL: Arm("frl-rwrm", {"epochs": 6, "constants": {"tolerance": 0.05}}),
}
BASES = {
    "TRADES": ("trades", (CONTROL, FAAL, AWP, "FAAL_TRADES", FRL)),
    "MART": ("mart", (CONTROL, FAAL, AWP)),
    "TRADES-AWP": ("trades-awp", (CONTROL, FAAL, AWP, "FAAL_TRADES-AWP")),
}
"""The method that trains a base, and the repairs of it that are compared: Table 1's."""

IN_COMMON = {"steps": 5, "hold_out": "select", "select": "last"}
"""The images of the evaluation are withheld already; with `select`, FRL alone withholds the images it steers by."""


def base_of(out: Path, spec: str, images: int, epochs: int, base: str) -> dict[str, Any]:
    """Train a base, evaluate it on the withheld images, and store the figures."""
    kept = folder_of(out / base, BASE, 1) / "withheld.json"
    if kept.exists():
        return read(kept)
    data = load_data(spec)
    remaining, withheld = apart(data)
    training = some(remaining, data.num_classes, images // data.num_classes)
    recipe = load_recipe(f"cifar10-prn18-{BASES[base][0]}").replace(
        {"width": 16, "epochs": epochs, **IN_COMMON}, source="bases"
    )
    architecture = Architecture.of(recipe, data)
    net = build_model(architecture, seed=1)
    trained_on = DataSet(name=data.name, classes=data.classes, train=training, test=None)
    train(net, architecture, trained_on, recipe, out=kept.parent, seed=1, device=CPU, quiet=True)
    return judged(kept, kept.parent, data, withheld, CHOOSING, 1)


def repaired(out: Path, spec: str, images: int, base: str, name: str, seed: int) -> dict[str, Any]:
    """Repair a base, evaluate the repair on the withheld images, and store the figures."""
    kept = folder_of(out / base, name, seed) / "withheld.json"
    if kept.exists():
        return read(kept)
    data, arm = load_data(spec), REPAIRS[name]
    remaining, withheld = apart(data)
    training = some(remaining, data.num_classes, images // data.num_classes)
    recipe = load_recipe(f"cifar10-prn18-{arm.method}-repair").replace({**IN_COMMON, **arm.settings}, source="bases")
    repair(kept.parent, open_model(folder_of(out / base, BASE, 1), data), data, training, recipe, seed)
    return judged(kept, kept.parent, data, withheld, CHOOSING, seed)


def collected(out: Path, seeds: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The figures of every finished run: base -> arm -> seeds."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for base, (_, names) in BASES.items():
        for name in (BASE, *names):
            kept = [folder_of(out / base, name, seed) / "withheld.json" for seed in range(1, seeds + 1)]
            rows = [read(path) for path in kept if path.exists()]
            if rows:
                found.setdefault(base, {})[name] = rows
    return found


def section(result: dict[str, Any], made: str) -> list[str]:
    """The repairs of every base, for `docs/results.md`."""
    n = next(iter(result["withheld"].values()))[BASE][0]["n"]
    frl = ", FRL six (its schedule scaled; 4 % of its images only steer it)"
    frl = frl if any(FRL in rows for rows in result["withheld"].values()) else ""
    lines = [
        "## CIFAR-10 at small scale: bases of other methods",
        "",
        f"Bases are PreActResNets-18 of width 16, {result['epochs']} epochs from scratch on {result['base images']:,} "
        f"training images; repairs take two epochs on {result['images']:,} of these{frl}. Attacks in training have "
        "five steps, the last epoch counts, and nothing was "
        f"chosen. Evaluated on {n:,} training images that neither bases nor repairs were trained on, about {n // 10} "
        "of a class: "
        f"average (worst class) in per cent, {_seeds(result['withheld'])}",
        "",
        f"{made} The networks were trained at `{'`, `'.join(result['trained at'])}`.",
        "",
    ]
    for base, rows in result["withheld"].items():
        differences = {name: found for name, found in result["differences"].get(base, {}).items() if found}
        lines += [f"From {base}:", "", *table(rows, CHOOSING, differences, BEHIND if differences else {}), ""]
    missing = [f"{base}: {name}" for base, (_, names) in BASES.items() for name in (BASE, *names)
               if name not in result["withheld"].get(base, {})]  # fmt: skip
    return [*lines, f"Not finished of what the command makes: {'; '.join(missing)}.", ""] if missing else lines


def _seeds(withheld: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Which seeds the figures are means over, and what their intervals do not cover."""
    if max(len(rows) for arms in withheld.values() for rows in arms.values()) == 1:
        return (
            "of one seed of each repair. Seeds of one arm differ by several points in the worst class (see the "
            "repairs of the PGD-AT base above), so that no order of the arms is claimed."
        )
    return (
        "means over the seeds of the repair, and behind them the difference from the control, paired by seed, with its "
        "95 % interval (Student's t). It covers the seed of the repair, not that of the base, and not the draw of the "
        "images."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("--out", type=Path, default=Path("runs/bases"), help="where the runs go")
    parser.add_argument("--base-images", type=int, default=30_000, help="training images of the bases")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the bases")
    parser.add_argument("--images", type=int, default=10_000, help="training images of the repairs")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 1 to N of the repairs")
    parser.add_argument("--only", nargs="*", choices=BASES, default=list(BASES), help="train and repair these bases")
    parser.add_argument("--workers", type=int, help="processes; all cores if left out")
    given = parser.parse_args()

    side_by_side(
        [Job(title=base, function=base_of, arguments=(given.out, given.data, given.base_images, given.epochs, base))
         for base in given.only],
        title="bases", workers=given.workers,
    )  # fmt: skip
    runs = [(base, name, seed) for seed in range(1, given.seeds + 1) for base in given.only for name in BASES[base][1]]
    side_by_side(
        [Job(title=f"{base}, {name}, seed {seed}", function=repaired,
             arguments=(given.out, given.data, given.images, base, name, seed)) for base, name, seed in runs],
        title="repairs", workers=given.workers,
    )  # fmt: skip

    withheld = collected(given.out, given.seeds)
    result = {
        "command": f"python -m benchmarks.experiments.bases --data cifar10:DIR --base-images {given.base_images} "
        f"--epochs {given.epochs} --images {given.images} --seeds {given.seeds}",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
        "trained at": sorted({
            read(folder_of(given.out / base, name, row["seed"]) / "environment.json")["commit"]
            for base, arms in withheld.items() for name, rows in arms.items() for row in rows
        }),
        "base images": given.base_images,
        "epochs": given.epochs,
        "images": given.images,
        "withheld": withheld,
        "differences": {
            base: {name: against(rows[CONTROL], found) for name, found in rows.items() if name not in (BASE, CONTROL)}
            for base, rows in withheld.items() if CONTROL in rows
        },
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
