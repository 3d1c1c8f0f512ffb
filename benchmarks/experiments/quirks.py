"""Which of the published quirks matter: two-epoch repairs of one base, with and without each, paired by seed.

    python -m benchmarks.experiments.quirks --base RUN --data cifar10:DIR --out runs/quirks
    python -m benchmarks.experiments.quirks --classes 100 --out runs/quirks-100

writes `benchmarks/results/quirks.json` or, on synthetic images of many classes, `quirks-100.json`. Started again after
it was stopped, it continues.
"""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from faal.audit import audit
from faal.audit.records.result import AttackResult
from faal.checkpoint import write_atomically
from faal.config import Recipe, load_recipe
from faal.data import DataSet, InMemory, Split, load_data
from faal.engine.environment import environment
from faal.models import Architecture, build_model, open_model
from faal.study.jobs import Job, side_by_side
from faal.train.loop import train

RESULTS = Path(__file__).parents[1] / "results"
CPU = torch.device("cpu")
ATTACKS = ("clean", "pgd20", "cw20")
POWER = 0.8


@dataclass(frozen=True)
class Arm:
    """A repair."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    control: str | None = None
    """The arm that it is compared with; None for a control."""


GATED = {"average": "gated", "average_span": 1.0}
ARMS = {
    "FAAL_AT": Arm("faal-at"),
    "sample-weighted objective": Arm("faal-at", {"counted": True}, "FAAL_AT"),
    "extra clean forward": Arm("faal-at", {"extra_clean_forward": True}, "FAAL_AT"),
    "attack in training mode": Arm("faal-at", {"attack_mode": "train"}, "FAAL_AT"),
    "epoch chosen on the test set": Arm("faal-at", {"select_on": "test"}, "FAAL_AT"),
    "FAAL_MART": Arm("faal-mart"),
    "attack on the KL": Arm("faal-mart", {"attack_loss": "kl"}, "FAAL_MART"),
    "CFA_TRADES": Arm("cfa-trades"),
    "loss divided by 7": Arm("cfa-trades", {"constants": {"divided": True}}, "CFA_TRADES"),
    "CFA_AT, gated average": Arm("cfa-at", GATED),
    "absolute gate of 0.2": Arm("cfa-at", GATED | {"average_gate": 0.2}, "CFA_AT, gated average"),
    "FAT": Arm("fat"),
    "variance over 100 entries": Arm("fat", {"constants": {"padded": 100}}, "FAT"),
}
"""The arms on CIFAR-10. With many classes only quirks that depend on their number are compared."""
MANY = ("FAAL_AT", "sample-weighted objective", "FAT", "variance over 100 entries")


def some(split: Split, classes: int, of_each: int) -> Split:
    """The first images of every class."""
    order = torch.argsort(split.labels, stable=True)
    counts = split.counts(classes)
    rank = torch.arange(split.n) - (counts.cumsum(0) - counts)[split.labels[order]]
    return split.take(order[rank < of_each].sort().values)


def synthetic(classes: int, of_each: int, seed: int) -> Split:
    """Images of a smooth pattern per class with noise; the classes differ in the strength of their pattern."""
    patterns = torch.randn(classes, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    strength = torch.linspace(0.4, 1.0, classes).view(-1, 1, 1, 1)
    patterns = 0.25 * strength * torch.nn.functional.interpolate(patterns, size=(12, 12), mode="bilinear")
    labels = torch.arange(classes).repeat(of_each)
    noise = torch.randn(len(labels), 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    return Split(InMemory((0.5 + patterns[labels] + 0.12 * noise).clamp(0, 1)), labels)


def data_of(spec: str, images: int) -> DataSet:
    """The training images of the repairs, and the test images that they are evaluated on."""
    if spec.startswith("synthetic:"):
        classes = int(spec.partition(":")[2])
        train_part, test_part = synthetic(classes, 60, seed=1), synthetic(classes, 40, seed=2)
        return DataSet(name=spec, classes=tuple(map(str, range(classes))), train=train_part, test=test_part)
    data = load_data(spec)
    assert data.train is not None
    kept = some(data.train, data.num_classes, images // data.num_classes)
    return DataSet(name=data.name, classes=data.classes, train=kept, test=data.test)


def recipe_of(arm: Arm, spec: str) -> Recipe:
    """The two-epoch repair of an arm: PreActResNet-18 on CIFAR-10, or the small net of the synthetic classes."""
    common: dict[str, Any] = {"method": arm.method, "hold_out": "both"}
    if spec.startswith("synthetic:"):
        recipe = load_recipe("digits-small-pgd-at-repair")
        common |= {"epsilon": 0.05, "step_size": 0.0125, "batch_size": 128, "hold_out": "none", "tau": 0.05}
    else:
        recipe = load_recipe("cifar10-prn18-pgd-at-repair")
        common |= {"steps": 5}
    if arm.method.startswith("cfa"):
        common["constants"] = {"start": 0}
    return recipe.replace(common, source="quirks").replace(arm.settings, source="quirks")


def base_of(out: Path, spec: str) -> Path:
    """A base for the synthetic classes: 20 epochs of PGD-AT."""
    folder, data = out / "base", data_of(spec, 0)
    settings = {"epochs": 20, "epsilon": 0.05, "step_size": 0.0125, "batch_size": 128, "hold_out": "none"}
    recipe = load_recipe("digits-small-pgd-at").replace(settings, source="quirks")
    architecture = Architecture.of(recipe, data)
    net = build_model(architecture, seed=1)
    train(net, architecture, data, recipe, out=folder, seed=1, device=CPU, quiet=True)
    return folder


def one(out: Path, base: Path, spec: str, images: int, limit: int, name: str, seed: int) -> dict[str, Any]:
    """Repair, audit, and store the figures."""
    folder = out / name.replace(" ", "-") / f"seed-{seed}"
    kept = folder / "figures.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    data, opened = data_of(spec, images), None
    assert data.test is not None
    opened = open_model(base, data)
    same = {key: getattr(opened.architecture, key) for key in ("model", "width", "depth", "normalize")}
    recipe = recipe_of(ARMS[name], spec).replace(same, source="base")
    outcome = train(
        opened.net, opened.architecture, data, recipe, out=folder, seed=seed, device=CPU, quiet=True,
        origin=opened.record,
    )  # fmt: skip
    result = audit(
        open_model(folder, data).net, data.test.images, data.test.labels, classes=data.classes, attacks=ATTACKS,
        epsilon=recipe.epsilon, limit=limit or None, out=folder,
    )  # fmt: skip
    attacks = {attack: figures_of(r) for attack, r in result.attacks.items()}
    found = {"seed": seed, "epoch": outcome.epoch, "note": outcome.note, "attacks": attacks}
    write_atomically(kept, json.dumps(found, indent=1).encode())
    return found


def figures_of(found: AttackResult) -> dict[str, float]:
    """Average and worst class, and the mean of the worst tenth of the classes: of ten, the worst one."""
    values = sorted(each.value for each in found.classes if each.value is not None)
    tenth = values[: max(1, len(values) // 10)]
    assert found.average.value is not None
    return {"average": found.average.value, "worst": values[0], "worst tenth": sum(tenth) / len(tenth)}


def compared(control: list[dict[str, Any]], variant: list[dict[str, Any]], attack: str, key: str) -> dict[str, float]:
    """The mean difference over the seeds with its 95 % interval, and the smallest detectable difference.

    That is the difference that a paired t test at 5 % finds with a power of 80 %, given the observed spread.
    """
    before, after = ([row["attacks"][attack][key] for row in rows] for rows in (control, variant))
    differences = np.array(after) - np.array(before)
    n = len(differences)
    error = differences.std(ddof=1) / math.sqrt(n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    mean = float(differences.mean())
    detectable = (stats.t.ppf(0.975, n - 1) + stats.t.ppf(POWER, n - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "detectable": float(detectable)}


def section(
    result: dict[str, Any], made: str, title: str, description: str, columns: dict[str, str], follows: str
) -> list[str]:
    """The effects of the quirks, for `docs/results.md`; `columns` are the figures in the table and their headings."""
    seeds = len(next(iter(result["rows"].values())))
    lines = [f"## {title}", "", description.format(seeds=seeds, n=f"{result['judged']:,}"), "", made, ""]
    lines.append("| arm | " + " | ".join(columns.values()) + " |")
    lines.append("| --- |" + " --- |" * len(columns))
    for name, rows in result["rows"].items():
        if ARMS[name].control is None:
            means = []
            for column in columns:
                attack, key = column.split(" ", 1)
                means.append(f"{100 * sum(row['attacks'][attack][key] for row in rows) / len(rows):.1f}")
            lines.append(f"| {name}, without | " + " | ".join(means) + " |")
    for name, found in result["differences"].items():
        cells = [f"{_clear(found[column])}; {100 * found[column]['detectable']:.1f}" for column in columns]
        lines.append(f"| {ARMS[name].control}: {name} | " + " | ".join(cells) + " |")
    return [*lines, "", follows, ""]


def difference(found: Mapping[str, float]) -> str:
    """A mean difference in points, and its interval."""
    return f"{100 * found['mean']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


def _clear(found: Mapping[str, float]) -> str:
    """A difference, bold where its interval excludes zero."""
    text = difference(found)
    return f"**{text}**" if found["low"] > 0 or found["high"] < 0 else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="the run whose network is repaired")
    parser.add_argument("--data", default="cifar10:cifar", help="cifar10:DIR")
    parser.add_argument("--classes", type=int, default=0, help="so many synthetic classes instead")
    parser.add_argument("--images", type=int, default=10_000, help="training images of the repairs")
    parser.add_argument("--limit", type=int, default=2_000, help="test images judged")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to N")
    parser.add_argument("--out", type=Path, default=Path("runs/quirks"), help="where the runs go")
    given = parser.parse_args()
    spec = f"synthetic:{given.classes}" if given.classes else given.data
    base = base_of(given.out, spec) if given.classes else given.base
    if base is None:
        parser.error("--base is the folder of a run on CIFAR-10, such as one of `faal reproduce table2 --scale small`")
    limit = 0 if given.classes else given.limit
    names = MANY if given.classes else tuple(ARMS)
    runs = [(name, seed) for seed in range(1, given.seeds + 1) for name in names]
    jobs = [
        Job(title=f"{name}, seed {seed}", function=one,
            arguments=(given.out, base, spec, given.images, limit, name, seed))
        for name, seed in runs
    ]  # fmt: skip
    figures = dict(zip(runs, side_by_side(jobs, title="repairs"), strict=True))
    rows = {name: [figures[name, seed] for seed in range(1, given.seeds + 1)] for name in names}
    what = f"--classes {given.classes}" if given.classes else "--base RUN --data cifar10:DIR"
    size = "" if given.classes else f" --images {given.images} --limit {given.limit}"
    data = data_of(spec, given.images)
    assert data.train is not None
    assert data.test is not None
    result = {
        "command": f"python -m benchmarks.experiments.quirks {what}{size} --seeds {given.seeds}",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
        "training images": data.train.n,
        "judged": limit or data.test.n,
        "rows": rows,
        "differences": {
            name: {f"{attack} {key}": compared(rows[arm.control], rows[name], attack, key)
                   for attack in ("clean", "all") for key in ("average", "worst", "worst tenth")}
            for name, arm in ARMS.items() if name in names and arm.control
        },
    }  # fmt: skip
    path = RESULTS / (f"quirks-{given.classes}.json" if given.classes else "quirks.json")
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
