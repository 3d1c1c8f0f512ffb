"""The choice of the digits recipes' settings: seeds 100 to 104, trained on 70 % of the training half, judged on 30 %.

    python -m benchmarks.experiments.tuning --out runs/tuning

writes `benchmarks/results/tuning.json`. The test half is not read.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faal.audit import audit
from faal.config import load_recipe
from faal.data import DataSet, load_data
from faal.engine.environment import environment
from faal.models import Architecture, build_model, open_model
from faal.study.jobs import Job, side_by_side
from faal.train.loop import train

RESULTS = Path(__file__).parents[1] / "results" / "tuning.json"
SEEDS = range(100, 105)
CPU = torch.device("cpu")
BASES: dict[str, dict[str, Any]] = {
    "chosen": {},
    "epsilon 0.13": {"epsilon": 0.13, "step_size": 0.0325},
    "random crop of 1": {"crop": 1},
}
REPAIRS = [("pgd-at", 0.007, 0.0)] + [("faal-at", lr, tau) for lr in (0.007, 0.02) for tau in (0.25, 0.35, 0.5)]


def parts(seed: int) -> DataSet:
    """The training half split in two, class by class."""
    half = load_data("digits").train
    assert half is not None
    generator = torch.Generator().manual_seed(seed)
    rows: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for digit in range(10):
        found = (half.labels == digit).nonzero().squeeze(1)
        found = found[torch.randperm(len(found), generator=generator)]
        held = int(0.3 * len(found))
        rows[0].append(found[held:])
        rows[1].append(found[:held])
    train_part, held_out = (half.take(torch.cat(row).sort().values) for row in rows)
    classes = tuple("0123456789")
    return DataSet(name="digits, part of the training half", classes=classes, train=train_part, test=held_out)


def one_seed(out: Path, seed: int, base: str) -> dict[str, tuple[float, list[float]]]:
    """Average and class-wise accuracy under PGD-20 and CW-20 of a base and, where it is the chosen one, its repairs."""
    data = parts(seed)
    assert data.test is not None
    recipe = load_recipe("digits-small-pgd-at").replace(BASES[base], source="tuning")
    folder = out / f"{base}-{seed}"
    architecture = Architecture(model="small", num_classes=10, channels=1, width=recipe.width)
    train(
        build_model(architecture, seed=seed), architecture, data, recipe, out=folder, seed=seed, device=CPU, quiet=True
    )
    runs = {f"base, {base}": folder}
    for method, lr, tau in REPAIRS if base == "chosen" else []:
        settings = {"method": method, "lr": f"0:{lr},1/2:{lr / 10}", "tau": tau}
        name = f"{method}, lr {lr}, tau {tau}"
        start = open_model(folder, data)
        runs[name] = out / f"{name}-{seed}"
        repair = load_recipe("digits-small-faal-at-repair").replace(settings, source="tuning")
        train(start.net, architecture, data, repair, out=runs[name], seed=seed + 1000, device=CPU, quiet=True)
    found = {}
    for name, run in runs.items():
        opened = open_model(run, data)
        images, labels = data.test.images, data.test.labels
        right = audit(opened.net, images, labels, attacks="pgd20,cw20", epsilon=opened.threat.epsilon).verdicts
        correct = right.correct("all")
        found[name] = (float(correct.mean()), [float(correct[right.label == c].mean()) for c in range(10)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"), help="where the runs go")
    arguments = parser.parse_args()
    jobs = [
        Job(title=f"{base}, seed {seed}", function=one_seed, arguments=(arguments.out, seed, base))
        for base in BASES
        for seed in SEEDS
    ]
    rows: dict[str, list[tuple[float, list[float]]]] = {}
    for found in side_by_side(jobs, title="tuning"):
        for name, figures in found.items():
            rows.setdefault(name, []).append(figures)
    result = {
        "command": "python -m benchmarks.experiments.tuning",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
        "seeds": list(SEEDS),
        "rows": {
            name: {
                "average": float(np.mean([average for average, _ in figures])),
                "worst": float(np.mean([min(classes) for _, classes in figures])),
                "worst of the pooled classes": float(np.mean([classes for _, classes in figures], axis=0).min()),
            }
            for name, figures in rows.items()
        },
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
