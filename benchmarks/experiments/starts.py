"""Robust accuracy under PGD-20 and CW-20 with one random start and with five, against AutoAttack.

    python -m benchmarks.experiments.digits --out runs/digits
    python -m benchmarks.experiments.starts --runs runs/digits

writes `benchmarks/results/starts.json`, for the networks of digits.py. One start is audited here; five starts and
AutoAttack are read from the runs.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from faal.audit import AuditResult, audit
from faal.data import load_data
from faal.engine.environment import environment
from faal.models import open_model
from faal.study.demo import ROLES

RESULTS = Path(__file__).parents[1] / "results" / "starts.json"


def robust_share(result: AuditResult, attacks: tuple[str, ...]) -> float:
    """The share of the samples that are predicted correctly under all of the attacks."""
    return float(np.logical_and.reduce([result.verdicts.correct(attack) for attack in attacks]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/digits"), help="the folder that digits.py wrote")
    arguments = parser.parse_args()
    data = load_data("digits")
    assert data.test is not None
    rows = []
    for folder in sorted(arguments.runs.glob("seed-*/*"), key=lambda path: (int(path.parent.name[5:]), path.name)):
        if folder.name not in ROLES:
            continue
        opened, stored = open_model(folder, data), AuditResult.read(folder)
        one = audit(opened.net, data.test.images, data.test.labels, attacks="pgd20,cw20", epsilon=opened.threat.epsilon)
        rows.append(
            {
                "seed": int(folder.parent.name[5:]),
                "network": folder.name,
                "one start": robust_share(one, ("clean", "pgd20", "cw20")),
                "five starts": robust_share(stored, ("clean", "pgd20x5", "cw20x5")),
                "AutoAttack": robust_share(stored, ("autoattack",)),
            }
        )
    result = {
        "command": "python -m benchmarks.experiments.starts",
        "environment": {k: v for k, v in environment(torch.device("cpu")).items() if k != "command"},
        "networks": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
