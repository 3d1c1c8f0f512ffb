"""The whole story on digits, in minutes on a CPU: train a robust base, audit it, repair it, audit again.

Three networks per seed: the base (plain PGD-AT), the control (the same fine-tune as the repair, without phase 2) and
the repaired one (FAAL). All are judged on the test half of digits, which nothing was chosen on.
"""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from faal.audit import AuditResult, audit
from faal.checkpoint import write_whole
from faal.config import Recipe, load_recipe
from faal.data import DataSet, load_data
from faal.models import Architecture, build_model, open_model
from faal.train.log import progress_bar
from faal.train.loop import train

ROLES = {
    "base": "digits-small-pgd-at",
    "control": "digits-small-pgd-at-repair",
    "repaired": "digits-small-faal-at-repair",
}
"""Network -> recipe. The control and the repair both start from the base."""

ATTACKS = ("clean", "pgd20", "cw20")


def demo(out: Path, *, seeds: Sequence[int] = (1, 2, 3), autoattack: int = 1, device: torch.device) -> dict[str, Any]:
    """Run the story and write `demo.json` and each network's run folder, `seed-N/base` and so on.

    Called again on the same folder, it goes on where it was stopped.

    Args:
        out: the folder.
        seeds: the training seeds; every one is reported.
        autoattack: the networks of so many seeds, from the first, are also judged by standard AutoAttack.
        device: where to run.

    Returns:
        What `demo.json` holds: per seed and network the robust accuracy, average and worst class, where robust means
        correct under PGD-20 and CW-20; under `autoattack` the first seed's networks under standard AutoAttack.
    """
    began = time.monotonic()
    data = load_data("digits")
    rows: list[dict[str, Any]] = []
    standard: list[dict[str, Any]] = []
    for position, seed in enumerate(seeds):
        attacks = (*ATTACKS, "autoattack") if position < autoattack else ATTACKS
        results = {}
        for role, name in ROLES.items():
            folder = out / f"seed-{seed}" / role
            base = None if role == "base" else out / f"seed-{seed}" / "base"
            _trained(folder, load_recipe(name), data, seed=seed, base=base, device=device)
            results[role] = _audited(folder, data, attacks, f"audit {role}, seed {seed}", device)
        rows.append({"seed": seed} | {role: robust(result) for role, result in results.items()})
        if "autoattack" in attacks:
            standard.append({role: _under(result, "autoattack") for role, result in results.items()})
    record: dict[str, Any] = {"seeds": rows}
    if standard:
        record["autoattack"] = standard[0]
    if len(standard) > 1:
        record["autoattack_seeds"] = standard
    record["seconds"] = round(time.monotonic() - began, 1)
    write_whole(out / "demo.json", json.dumps(record, indent=2).encode())
    return record


def robust(result: AuditResult) -> dict[str, float]:
    """Average and worst-class accuracy under PGD-20 and CW-20 together, whatever else was run."""
    verdicts = result.verdicts
    correct = verdicts.correct("clean") & verdicts.correct("pgd20") & verdicts.correct("cw20")
    classes = [float(correct[verdicts.label == c].mean()) for c in np.unique(verdicts.label)]
    return {"average": float(correct.mean()), "worst": min(classes)}


def _under(result: AuditResult, attack: str) -> dict[str, float | None]:
    figures = result.attacks[attack]
    return {"average": figures.average.value, "worst": figures.worst.value}


def _trained(
    folder: Path, recipe: Recipe, data: DataSet, *, seed: int, base: Path | None, device: torch.device
) -> None:
    """Train, or fine-tune `base`, into `folder`; a finished run is left as it is."""
    if base is None:
        channels = data.train.images.shape[0] if data.train else 1
        architecture = Architecture(
            model=recipe.model, num_classes=data.num_classes, channels=channels, width=recipe.width, depth=recipe.depth
        )
        train(build_model(architecture, seed=seed), architecture, data, recipe, out=folder, seed=seed, device=device)
    else:
        opened = open_model(base, data)
        train(opened.net, opened.architecture, data, recipe, out=folder, seed=seed, device=device, origin=opened.record)


def _audited(folder: Path, data: DataSet, attacks: Sequence[str], title: str, device: torch.device) -> AuditResult:
    """Audit the network of a run's folder on the test half, with a bar."""
    assert data.test is not None
    opened = open_model(folder, data)
    with progress_bar() as bar:
        task = bar.add_task(title, total=None, note="")
        return audit(
            opened.net.to(device),
            data.test.images,
            data.test.labels,
            classes=data.classes,
            attacks=attacks,
            epsilon=load_recipe(ROLES["base"]).epsilon,
            out=folder,
            model_record={"name": folder.name, **opened.record},
            data_record={"name": data.name, "split": "test"},
            progress=lambda attack, done, total: bar.update(task, total=total, completed=done, note=attack),
        )


def story(record: dict[str, Any]) -> Table:
    """The outcome as a table for the terminal: mean over seeds, average and worst class."""
    count = len(record["seeds"])
    table = Table(title=f"Robust accuracy in %, average (worst class): mean of {count} seeds", box=None)
    table.add_column("network")
    table.add_column("PGD-20 and CW-20", justify="right")
    table.add_column("AutoAttack, first seed", justify="right")
    for role in ROLES:
        cells = [
            _cell(float(np.mean([row[role][key] for row in record["seeds"]])) for key in ("average", "worst")),
            _cell(record["autoattack"][role][key] for key in ("average", "worst")) if "autoattack" in record else "",
        ]
        table.add_row(role, *cells)
    return table


def _cell(values: Iterable[float]) -> str:
    average, worst = (100 * value for value in values)
    return f"{average:.1f} ({worst:.1f})"
