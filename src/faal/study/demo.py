"""The demo on digits, in minutes on a CPU: train a robust base, audit it, repair it, audit again.

Three networks per seed: the base (plain PGD-AT), the control (the same fine-tune as the repair, without phase 2) and
the repaired one (FAAL). All are audited on the test half of digits, on which no setting was chosen.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from faal.audit import AuditResult
from faal.audit.blocks import Source
from faal.audit.run import run_audit, run_share
from faal.audit.settings import AuditContext, AuditSettings
from faal.checkpoint import write_atomically
from faal.config import load_recipe
from faal.data import load_data
from faal.engine.writers.lock import folder_lock
from faal.errors import MISFIT, InputError
from faal.models import Architecture, build_model, open_model
from faal.report.files.demo import ATTACKS, robust_accuracy
from faal.study.jobs import Job, side_by_side
from faal.train.loop import train

ROLES = {
    "base": "digits-small-pgd-at",
    "control": "digits-small-pgd-at-repair",
    "repaired": "digits-small-faal-at-repair",
}
"""Network -> recipe. The control and the repair both start from the base."""

SHARES = 4
"""Number of parts of an audit with AutoAttack: the blocks of 250 of the test half's 899 images."""


def demo(out: Path, *, seeds: Sequence[int] = (1, 2, 3), autoattack: int = 1, device: torch.device) -> dict[str, Any]:
    """Run the demo and write `demo.json` and each network's run folder, `seed-N/base` and so on.

    Another call on the same folder continues a demo that was stopped.

    Args:
        out: the folder.
        seeds: the training seeds; all are reported.
        autoattack: number of seeds, from the first, whose networks are also attacked by standard AutoAttack.
        device: the device to run on.

    Returns:
        The content of `demo.json`: per seed and network the robust accuracy, average and worst class, where robust
        means correct under PGD-20 and CW-20 with five restarts each; under `autoattack` the first seed's networks under
        standard AutoAttack.
    """
    with folder_lock(out):
        return _demo(out, seeds, autoattack, device)


def _demo(out: Path, seeds: Sequence[int], autoattack: int, device: torch.device) -> dict[str, Any]:
    started, earlier = time.monotonic(), _seconds_before(out)
    side_by_side(
        [Job(title=f"seed {seed} trained", function=train_seed, arguments=(out, seed, device)) for seed in seeds],
        title="train and repair",
    )
    # AutoAttack requires almost all of the time: its blocks are distributed evenly before the audits are combined.
    parts = [(seed, role, part) for seed in seeds[:autoattack] for role in ROLES for part in range(SHARES)]
    attacks = {seed: (*ATTACKS, *["autoattack"][: position < autoattack]) for position, seed in enumerate(seeds)}
    side_by_side(
        [
            Job(
                title=f"{role}, seed {seed}, part {part + 1} of {SHARES}",
                function=audit_part,
                arguments=(out, seed, role, attacks[seed], part, device),
            )
            for seed, role, part in parts
        ],
        title="AutoAttack",
    )
    runs = [(seed, role) for seed in seeds for role in ROLES]
    results = side_by_side(
        [
            Job(title=f"{role}, seed {seed}", function=audit_full, arguments=(out, seed, role, attacks[seed], device))
            for seed, role in runs
        ],
        title="audit",
    )
    audits = dict(zip(runs, results, strict=True))
    rows = [{"seed": seed} | {role: robust(audits[seed, role]) for role in ROLES} for seed in seeds]
    standard = [
        {role: _accuracy_under(audits[seed, role], "autoattack") for role in ROLES} for seed in seeds[:autoattack]
    ]
    record: dict[str, Any] = {"seeds": rows}
    if standard:
        record["autoattack"] = standard[0]
    if len(standard) > 1:
        record["autoattack_seeds"] = standard
    record["seconds"] = round(time.monotonic() - started + earlier, 1)
    write_atomically(out / "demo.json", json.dumps(record, indent=2).encode())
    return record


def _seconds_before(out: Path) -> float:
    """Seconds of earlier calls on the same folder. Raises InputError where its demo.json has another content."""
    path = out / "demo.json"
    if not path.exists():
        return 0.0
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, *MISFIT):
        raise InputError(f"{path} is of no demo, and is not overwritten; choose another folder with --out") from None


def robust(result: AuditResult) -> dict[str, float]:
    """Average and worst-class accuracy under all of `ATTACKS` together, whatever else was run."""
    verdicts = result.verdicts
    return asdict(robust_accuracy(verdicts.label, {name: verdicts.correct(name) for name in ATTACKS}, ATTACKS))


def _accuracy_under(result: AuditResult, attack: str) -> dict[str, float | None]:
    result_under = result.attacks[attack]
    return {"average": result_under.average.value, "worst": result_under.worst.value}


def train_seed(out: Path, seed: int, device: torch.device) -> None:
    """Train the base of one seed and fine-tune it in both ways; finished runs are reused."""
    data = load_data("digits")
    for role, name in ROLES.items():
        recipe, folder = load_recipe(name), out / f"seed-{seed}" / role
        if role == "base":
            architecture = Architecture.of(recipe, data)
            net, origin = build_model(architecture, seed=seed), None
        else:
            opened = open_model(out / f"seed-{seed}" / "base", data)
            net, architecture, origin = opened.net, opened.architecture, opened.record
        train(net, architecture, data, recipe, out=folder, seed=seed, device=device, origin=origin, quiet=True)


def _audit_arguments(
    out: Path, seed: int, role: str, attacks: Sequence[str], device: torch.device
) -> tuple[nn.Module, Source, Tensor, AuditSettings, AuditContext]:
    """The arguments of `run_audit` for one network on the test half of digits."""
    data = load_data("digits")
    assert data.test is not None
    folder = out / f"seed-{seed}" / role
    opened = open_model(folder, data)
    context = AuditContext(
        classes=data.classes,
        out=folder,
        model_record={"name": role, **opened.record},
        data_record={"name": data.name, "split": "test"},
    )
    settings = AuditSettings.of(attacks=attacks, **asdict(opened.threat))
    return opened.net.to(device), data.test.images, data.test.labels, settings, context


def audit_part(out: Path, seed: int, role: str, attacks: Sequence[str], part: int, device: torch.device) -> None:
    """Run one of `SHARES` parts of an audit."""
    run_share(*_audit_arguments(out, seed, role, attacks, device), rank=part, world_size=SHARES)


def audit_full(out: Path, seed: int, role: str, attacks: Sequence[str], device: torch.device) -> AuditResult:
    """Run an audit, reusing the parts that are finished."""
    return run_audit(*_audit_arguments(out, seed, role, attacks, device))


def demo_table(record: dict[str, Any]) -> Table:
    """The result as a table for the terminal: mean over seeds, average and worst class."""
    count = len(record["seeds"])
    table = Table(title=f"Robust accuracy in %, average (worst class): mean of {count} seeds", box=None)
    table.add_column("network")
    table.add_column("PGD-20 and CW-20, five restarts", justify="right")
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
