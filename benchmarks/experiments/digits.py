"""The repair on digits over ten seeds, with AutoAttack on every network, and paired intervals.

    python -m benchmarks.experiments.digits --out runs/digits

writes `benchmarks/results/digits.json`, from which `benchmarks/experiments/tables.py` makes `docs/results.md`. Started
again after it was stopped, it continues.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from faal.engine.environment import environment
from faal.study.demo import ROLES, demo

RESULTS = Path(__file__).parents[1] / "results" / "digits.json"


def paired(before: list[float], after: list[float]) -> dict[str, float]:
    """Mean difference over the seeds and its 95 % interval (Student's t)."""
    difference = np.array(after) - np.array(before)
    half = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / math.sqrt(len(difference))
    mean = float(difference.mean())
    return {"mean": mean, "low": mean - float(half), "high": mean + float(half)}


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of each network, and the paired differences between them."""
    values = {role: {key: [row[role][key] for row in seeds] for key in ("average", "worst")} for role in ROLES}
    return {
        "mean": {role: {key: float(np.mean(list_)) for key, list_ in keys.items()} for role, keys in values.items()},
        "repaired - base": {k: paired(values["base"][k], values["repaired"][k]) for k in ("average", "worst")},
        "repaired - control": {k: paired(values["control"][k], values["repaired"][k]) for k in ("average", "worst")},
        "control - base": {k: paired(values["base"][k], values["control"][k]) for k in ("average", "worst")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="where the runs go")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 1 to N")
    arguments = parser.parse_args()
    device = torch.device("cpu")
    record = demo(arguments.out, seeds=range(1, arguments.seeds + 1), autoattack=arguments.seeds, device=device)
    result = {
        "command": f"python -m benchmarks.experiments.digits --seeds {arguments.seeds}",
        "environment": {k: v for k, v in environment(device).items() if k != "command"},
        "seeds": record["seeds"],
        "autoattack_seeds": record["autoattack_seeds"],
        "PGD-20 and CW-20": summary(record["seeds"]),
        "AutoAttack": summary(record["autoattack_seeds"]),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
