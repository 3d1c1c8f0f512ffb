"""Two-epoch repairs of one base, side by side: what `docs/results.md` says of them.

    faal repair BASE cifar10-prn18-faal-at-repair --data cifar10:DIR --steps 7 --seed 1 --out RUNS/faal-1
    faal audit RUNS/faal-1 --data cifar10:DIR --attacks clean,pgd20,cw20 --limit 4000
    python benchmarks/repairs.py RUNS

writes `benchmarks/results/repairs.json`. A folder ARM-SEED in RUNS is a repair with its audit, `base-1` the
base's audit.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from digits import paired

RESULTS = Path(__file__).parent / "results" / "repairs.json"
ARMS = {
    "base": "the base",
    "control": "control: plain AT",
    "faal": "FAAL_AT",
    "plus": "FAAL_AT, every other batch attacked on the margin, weights averaged in the second epoch",
}
RECIPES = ("`cifar10-prn18-pgd-at-repair`", "`cifar10-prn18-faal-at-repair`")
PLUS = "--attack-loss alternate --average step --average-from 0.5 --average-decay 0.995"
SETTINGS = ("method", "steps", "epochs", "tau", "attack_loss", "average", "average_from", "average_decay")
"""What tells the arms apart, for the record."""


def figures(run: Path) -> dict[str, Any]:
    """A run's audit: attack -> average and worst class."""
    told = json.loads((run / "audit.json").read_text(encoding="utf-8"))
    return {
        name: {key: {k: v for k, v in found[key].items() if k != "correct"} for key in ("average", "worst")}
        for name, found in told["attacks"].items()
    }


def collected(runs: Path) -> dict[str, Any]:
    """All arms, each with its seeds in order."""
    arms: dict[str, Any] = {}
    audits = {}
    for arm in ARMS:
        for run in sorted(runs.glob(f"{arm}-*"), key=lambda run: int(run.name.rpartition("-")[2])):
            if not (run / "audit.json").exists():
                continue
            audits[run.name] = json.loads((run / "audit.json").read_text(encoding="utf-8"))
            found = arms.setdefault(arm, {"seeds": []})
            if (run / "config.yaml").exists():
                recipe = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["recipe"]
                found["settings"] = {name: recipe[name] for name in SETTINGS}
            found["seeds"].append({"seed": int(run.name.rpartition("-")[2]), "attacks": figures(run)})
    judged = {(told["data"]["n"], told["data"]["fingerprint"], told["engine"]) for told in audits.values()}
    if len(judged) != 1:
        raise SystemExit(f"{runs}: the audits are of different images or engines: {sorted(judged)}")
    made = next(iter(audits.values()))["environment"]
    return {
        "command": "python benchmarks/repairs.py RUNS",
        "environment": {k: v for k, v in made.items() if k != "command"},
        "judged": judged.pop()[0],
        "arms": arms,
    }


def mean(values: Iterable[float]) -> float:
    found = [100 * value for value in values]
    return sum(found) / len(found)


def section(result: dict[str, Any], made: str) -> list[str]:
    """The table, and the differences from the control, paired by seed."""
    arms, attacks = result["arms"], ("clean", "pgd20", "cw20", "all")
    lines = [
        "## CIFAR-10 at small scale: the two-epoch repair",
        "",
        "One PGD-AT base (PreActResNet-18 of width 16, six epochs), repaired on all its training images for two epochs "
        f"against PGD-7, in bf16; {result['judged']:,} test images drawn once, about 400 of a class. Average (worst "
        "class) in per cent, means over the seeds; nothing was chosen by these figures. The last arm's two changes are "
        "a lead from a sketch, not settled.",
        "",
        f"Runs: `faal repair BASE RECIPE --data cifar10:DIR --steps 7 --seed N` with {' and '.join(RECIPES)}, the last "
        f"arm with `{PLUS}` too; `faal audit RUN --data cifar10:DIR --attacks clean,pgd20,cw20 --limit 4000`.",
        "",
        made,
        "",
        "| arm | seeds | clean | PGD-20 | CW-20 | both |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for arm, found in arms.items():
        cells = [
            f"{mean(row['attacks'][attack]['average']['value'] for row in found['seeds']):.1f} "
            f"({mean(row['attacks'][attack]['worst']['value'] for row in found['seeds']):.1f})"
            for attack in attacks
        ]
        lines.append(f"| {ARMS[arm]} | {len(found['seeds'])} | {' | '.join(cells)} |")
    told = [f"- {ARMS[arm]}: {found}." for arm in ("faal", "plus") if (found := differences(arms, arm))]
    if told:
        heading = "Differences from the control under both attacks, in points, paired by seed, 95 % (Student's t):"
        lines += ["", heading, "", *told]
    return [*lines, ""]


def differences(arms: dict[str, Any], arm: str) -> str:
    """Average and worst class under all attacks together against the control's, over the seeds that both have."""
    before, after = (
        {row["seed"]: row["attacks"]["all"] for row in arms.get(name, {"seeds": []})["seeds"]}
        for name in ("control", arm)
    )
    seeds = sorted(before.keys() & after.keys())
    if len(seeds) < 2:
        return ""
    told = []
    for key, words in (("average", "average"), ("worst", "worst class")):
        found = paired([before[s][key]["value"] for s in seeds], [after[s][key]["value"] for s in seeds])
        told.append(f"{words} {100 * found['mean']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})")
    return f"{', '.join(told)}, {len(seeds)} seeds"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.out.write_text(json.dumps(collected(given.runs), indent=1) + "\n", encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
