"""Collect the finished runs of `benchmarks/experiments/evidence.yaml` into one small file.

    python -m benchmarks.experiments.evidence OUT

writes `benchmarks/results/evidence.json`: for every finished network how it was made (command, commit, seconds, figures
on the withheld images), for every finished audit its figures by attack with the class-wise counts. The runs are made by
`python -m benchmarks.experiments.runs --plan benchmarks/experiments/evidence.yaml ... --out OUT`; they need not all be
finished: results of the file whose runs are not in OUT stay in it. Comparisons over seeds are computed from the file.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.experiments.plan import Plan, PlanItem
from benchmarks.experiments.state import finished, records

from faal.audit.records.verdicts import Verdicts
from faal.bounds.plain import read_yaml
from faal.checkpoint import write_atomically

HERE = Path(__file__).parent
PLAN, RESULTS = HERE / "evidence.yaml", HERE.parent / "results" / "evidence.json"
LOG, VERDICTS = "metrics.jsonl", "verdicts.npz"
EVERYTHING = "everything"
"""Instead of an attack's name: correct under every attack of two audits of one network, on the images of both."""


def collected(plan: Plan, out: Path, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The finished items: `networks` and `audits` by the items' names, `classes` by data.

    An item that is not in `out` is taken from `earlier`, an earlier result of this, where its command is the same.
    """
    log = records(out)
    found: dict[str, Any] = {"command": "python -m benchmarks.experiments.evidence OUT", "plan": plan.where}
    found |= {"items": len(plan.items), "finished": 0, "classes": dict(earlier.get("classes", {}))}
    found |= {"networks": {}, "audits": {}}
    present: set[str] = set()
    for item in plan.items.values():
        if not (out / item.makes).exists() or not finished(item, out, log):
            kind = "audits" if item.command[0] == "audit" else "networks"
            former = earlier.get(kind, {}).get(item.name)
            if former is not None and former["command"] == item.command_line:
                found[kind][item.name] = former
            continue
        present.add(item.name)
        made = {"stage": item.stage, **_made(item, log)}
        if item.command[0] != "audit":
            found["networks"][item.name] = made | {"withheld": withheld(out / item.makes)}
            continue
        audit = json.loads((out / item.makes).read_text(encoding="utf-8"))
        found["classes"][item.data] = audit["data"]["classes"]
        found["audits"][item.name] = {"folder": str(Path(item.makes).parent), **made, **judged(audit)}
    for name, audit in found["audits"].items():
        usual = found["audits"].get(f"{name.rpartition('.')[0]}.usual")
        if usual is not None and usual is not audit and name in present:
            first, second = (Verdicts.read(out / each["folder"] / VERDICTS) for each in (usual, audit))
            audit["attacks"][EVERYTHING] = together(first, second, found["classes"][plan.items[name].data])
    found["finished"] = len(found["networks"]) + len(found["audits"])
    return found


def _made(item: PlanItem, log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How an item was made: its command, the commits and devices of all calls, and the seconds that they took."""
    own = [line for line in log if line["item"] == item.name and line["command"] == item.command_line]
    return {
        "command": item.command_line,
        "commits": sorted({line["commit"] for line in own if line["commit"]}),
        "devices": sorted({line["device"] for line in own}),
        "seconds": round(sum(line["seconds"] for line in own), 1),
        "processor seconds": round(sum(line.get("processor seconds", 0.0) for line in own), 1),
    }


def withheld(checkpoint: Path) -> list[dict[str, float]]:
    """Average and worst class on the withheld images, from the run's log, in its order."""
    log = checkpoint.parent / LOG
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    selects = [line["select"] for line in lines if line.get("select")]
    return [{key: round(select[key], 4) for key in ("average", "worst") if key in select} for select in selects]


def judged(audit: Mapping[str, Any]) -> dict[str, Any]:
    """An audit's summary: images, settings, and every attack's average, worst class and counts by class."""
    attacks = {
        name: {
            "average": each["average"]["value"],
            "worst": {key: each["worst"][key] for key in ("class", "value")},
            "correct": [c["correct"] for c in each["classes"]],
            "seconds": round(each["seconds"], 1),
        }
        for name, each in audit["attacks"].items()
    }
    first = next(iter(audit["attacks"].values()))
    made = audit["environment"]
    return {
        "n": audit["data"]["n"],
        "by class": [c["n"] for c in first["classes"]],
        "images": audit["data"].get("fingerprint"),
        "network": audit["model"].get("sha256"),
        "threat": audit["threat"],
        "seed": audit["seed"],
        "engine": audit["engine"],
        "machine": {key: made.get(key) for key in ("processor", "system", "device", "threads", "packages")},
        "attacks": attacks,
    }


def together(first: Verdicts, second: Verdicts, classes: Sequence[str]) -> dict[str, Any]:
    """Correct under all attacks of two audits, on the images that both have."""
    _, in_first, in_second = np.intersect1d(first.index, second.index, return_indices=True)
    both = ((first, in_first), (second, in_second))
    robust = np.logical_and.reduce([each.correct(attack)[rows] for each, rows in both for attack in each.predicted])
    label = first.label[in_first]
    n = np.bincount(label, minlength=len(classes))
    correct = np.bincount(label[robust], minlength=len(classes))
    share = np.where(n > 0, correct / np.maximum(n, 1), np.inf)
    worst = int(share.argmin())
    return {
        "average": float(robust.mean()),
        "worst": {"class": classes[worst], "value": float(share[worst])},
        "correct": correct.tolist(),
        "by class": n.tolist(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder of all runs")
    parser.add_argument("--plan", type=Path, default=PLAN, help="the plan; unset: benchmarks/experiments/evidence.yaml")
    parser.add_argument("--to", type=Path, default=RESULTS, help="the file; unset: benchmarks/results/evidence.json")
    given = parser.parse_args(arguments)
    plan = Plan(read_yaml(given.plan), "paper", given.plan.name)
    earlier = json.loads(given.to.read_text(encoding="utf-8")) if given.to.exists() else {}
    found = collected(plan, given.out, earlier)
    write_atomically(given.to, (json.dumps(found, indent=1) + "\n").encode())
    print(f"{given.to}: {found['finished']} of {found['items']} items")


if __name__ == "__main__":
    main()
