"""Whether the verdicts are right: audits of public networks of others, beside what was published of them.

    OMP_NUM_THREADS=1 python -m benchmarks.checked --models DIR --cifar10 cifar10:DIR --mnist idx:DIR --work DIR

DIR of `--models` holds the checkpoints and `nets.py`, their architectures. The figures go to
`benchmarks/results/checked.json`, and from there to `docs/checked.md`. Finished blocks stay in the work folder, so that
a measurement that was stopped continues; audits that have figures are not repeated without `--again`; `--only` takes
some networks, and `--page` writes the page alone.
"""

import argparse
import contextlib
import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from benchmarks.checked import agreement, table
from benchmarks.checked.networks import NETWORKS, Audited, PublicNetwork

from faal.audit import AuditResult, audit
from faal.checkpoint import write_atomically
from faal.data import DataSet, load_data
from faal.engine.environment import environment
from faal.models import LoadedModel, open_model

BLOCK = 250
"""Images per block, the audit's default: the comparison sample by sample is of one block."""


def opened(network: PublicNetwork, models: Path, data: DataSet) -> LoadedModel:
    """The network, as `faal audit FILE --model nets:FUNCTION` in the folder of the models opens it."""
    with contextlib.chdir(models):
        return open_model(Path(network.file), data, model=network.model, normalize=network.normalize)


def measured(network: PublicNetwork, plan: Audited, net: LoadedModel, data: DataSet, folder: Path) -> dict[str, Any]:
    """One audit's figures, in the form of `checked.json`; with AutoAttack, the comparison sample by sample."""
    assert data.test is not None
    epsilon = float(Fraction(network.epsilon))
    start = time.process_time()
    result = audit(
        net.net, data.test.images, data.test.labels, classes=data.classes, attacks=plan.attacks, epsilon=epsilon,
        limit=plan.limit, block_size=BLOCK, out=folder, model_record=net.record,
    )  # fmt: skip
    attacks = {
        name: {"correct": sum(entry.correct for entry in found.classes), "worst": found.worst.to_json()}
        | found.average.to_json()
        for name, found in result.attacks.items()
    }
    row: dict[str, Any] = {"n": result.data["n"], "engine": result.engine, "attacks": attacks}
    if "autoattack" in plan.attacks and plan.limit == BLOCK:
        row["against pyautoattack"] = against(net, data, result, epsilon)
    return row | {"processor seconds": round(time.process_time() - start)}


def against(net: LoadedModel, data: DataSet, result: AuditResult, epsilon: float) -> dict[str, Any]:
    """The comparison sample by sample, on the images of an audit of one block."""
    assert data.test is not None
    index = torch.from_numpy(result.verdicts.index).long()
    images, labels = data.test.images.fetch(index), data.test.labels[index]
    return agreement.compared(net.net, images, labels, result, index, epsilon)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="the folder of the checkpoints and of nets.py")
    parser.add_argument("--cifar10", help="like --data")
    parser.add_argument("--mnist", help="like --data")
    parser.add_argument("--work", type=Path, help="the folder of the audits")
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="these networks")
    parser.add_argument("--again", action="store_true", help="measure again what has figures already")
    parser.add_argument("--page", action="store_true", help="write the page from the figures, and measure nothing")
    given = parser.parse_args()
    if not given.page:
        if None in (given.models, given.cifar10, given.mnist, given.work):
            parser.error("a measurement needs --models, --cifar10, --mnist and --work")
        work: Path = given.work.absolute()
        made = {k: v for k, v in environment(torch.device("cpu")).items() if k != "command"}
        for name in given.only:
            network = NETWORKS[name]
            data = load_data(getattr(given, network.data))
            net = opened(network, given.models.absolute(), data)
            for plan in network.audits:
                if plan.name in _stored()["networks"].get(name, {"audits": {}})["audits"] and not given.again:
                    continue
                row = measured(network, plan, net, data, work / network.file / plan.name)
                _store(name, net, plan, row | {"environment": made})
                print(name, plan.name, {attack: found["value"] for attack, found in row["attacks"].items()}, flush=True)
    table.PAGE.write_text(table.page(), encoding="utf-8")


def _stored() -> dict[str, Any]:
    if not table.RESULTS.exists():
        return {"networks": {}}
    found: dict[str, Any] = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    return found


def _store(name: str, net: LoadedModel, plan: Audited, row: dict[str, Any]) -> None:
    """Put an audit's figures beside those that are there already."""
    found = _stored()
    found["command"] = table.COMMAND
    entry = found["networks"].setdefault(name, {"audits": {}})
    entry["sha256"] = net.record["sha256"]
    entry["audits"][plan.name] = row
    write_atomically(table.RESULTS, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
