"""What each speed-up of the training step changes: adversarial examples, verdicts, and a run's final accuracy.

    python -m benchmarks.speed.equality --data cifar10:DIR --run RUN --out DIR

writes `benchmarks/results/equality.json`. The attack is PGD-10 of training on images of the training set, on a trained
network, from the same starts. It is compared with the attack as it would be written plainly: float32, images and
weights row by row, nothing frozen. A verdict is the plain network's own, in float32. The end results are those of
`digits-small-pgd-at` and its FAAL repair, trained in float32 and in bfloat16 with the same seeds.
"""

import argparse
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from benchmarks.experiments.digits import paired
from benchmarks.speed.ways import with_weight_gradients
from torch import Tensor, nn

from faal.audit import audit
from faal.checkpoint import write_atomically
from faal.config import load_recipe
from faal.data import load_data
from faal.engine.environment import environment
from faal.engine.graphs import Compiled
from faal.engine.numerics import Numerics
from faal.inner.pgd import AttackSettings, pgd
from faal.models import Architecture, build_model, open_model
from faal.train.loop import train

RESULTS = Path(__file__).parents[1] / "results" / "equality.json"
CPU = torch.device("cpu")
EPSILON = 8 / 255
BATCH = 128

PLAIN = "plain"
ROWS, LAST = torch.contiguous_format, torch.channels_last


def examples_of(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    memory: torch.memory_format = LAST,
    bf16: bool = False,
    compiled: bool = False,
    frozen: bool = True,
    steps: int = 10,
) -> Tensor:
    """Adversarial examples of a network in one form, batch by batch."""
    numerics = Numerics(device=CPU, bf16=bf16, memory=memory)
    placed = numerics.place(copy.deepcopy(net))
    model: nn.Module = Compiled(placed, BATCH) if compiled else placed
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for part in torch.arange(len(images)).split(BATCH):
        with numerics.autocast(), nullcontext() if frozen else with_weight_gradients():
            moved = pgd(
                model,
                images[part].contiguous(memory_format=memory),
                labels[part],
                AttackSettings(steps=steps),
                epsilon=EPSILON,
                step_size=EPSILON / 4,
                noise=noise[part],
            )
        found.append(moved.contiguous())
    return torch.cat(found)


FORMS: Mapping[str, dict[str, Any]] = {
    PLAIN: {"memory": ROWS, "frozen": False},
    "weights frozen": {"memory": ROWS},
    "and channels last": {},
    "and channels last, compiled": {"compiled": True},
    "and channels last, bfloat16": {"bf16": True},
}


@torch.no_grad()
def robust(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """(N,) bool: which images the network itself predicts correctly, in float32."""
    predicted = [net(images[part]).argmax(dim=1) for part in torch.arange(len(images)).split(BATCH)]
    return torch.cat(predicted) == labels


def compared(
    net: nn.Module, images: Tensor, labels: Tensor, forms: Mapping[str, dict[str, Any]] = FORMS
) -> dict[str, Any]:
    """Each form of the attack against the plain one."""
    net = net.eval()
    examples = {name: examples_of(net, images, labels, **form) for name, form in forms.items()}
    plain = examples.pop(PLAIN)
    plain_robust = robust(net, plain, labels)
    found: dict[str, Any] = {PLAIN: {"robust": float(plain_robust.float().mean())}}
    for name, moved in examples.items():
        own_robust = robust(net, moved, labels)
        found[name] = {
            "largest difference": float((moved - plain).abs().max()),
            "signs alike": float(((moved - images).sign() == (plain - images).sign()).float().mean()),
            "verdicts alike": float((own_robust == plain_robust).float().mean()),
            "robust": float(own_robust.float().mean()),
        }
    return found


# --- the end result --------------------------------------------------------------------------------------------------


def trained(out: Path, seed: int, precision: str) -> dict[str, dict[str, float]]:
    """Base and repair of one seed: average and worst class, correct under PGD-20 and CW-20 of five starts."""
    data = load_data("digits")
    assert data.test is not None
    images, found, before = data.test.images.fetch(torch.arange(data.test.n)), {}, None
    for role, name in (("base", "digits-small-pgd-at"), ("repaired", "digits-small-faal-at-repair")):
        recipe = load_recipe(name).replace({"precision": precision}, source="equality")
        folder = out / precision / f"seed-{seed}" / role
        architecture = Architecture.of(recipe, data)
        net = build_model(architecture, seed=seed) if before is None else open_model(before, data).net
        before = train(net, architecture, data, recipe, out=folder, seed=seed, device=CPU, quiet=True).best
        judged = audit(
            open_model(before, data).net,
            images,
            data.test.labels,
            attacks=("pgd20x5", "cw20x5"),
            epsilon=recipe.epsilon,
            seed=seed,
        ).to_json()["attacks"]["all"]
        found[role] = {key: judged[key]["value"] for key in ("average", "worst")}
    return found


def end_results(out: Path, seeds: Sequence[int], record: Callable[[dict[str, Any]], None]) -> None:
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        rows.append({"seed": seed} | {form: trained(out, seed, form) for form in ("float32", "bf16")})
        differences = {
            f"{role}, {key}": paired([r["float32"][role][key] for r in rows], [r["bf16"][role][key] for r in rows])
            for role in ("base", "repaired")
            for key in ("average", "worst")
            if len(rows) > 1
        }
        record({"seeds": rows, "bf16 - float32": differences})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as in `faal audit`")
    parser.add_argument("--run", type=Path, required=True, help="the trained network")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="where the digits runs go")
    parser.add_argument("--result", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    data = load_data(arguments.data)
    assert data.train is not None
    opened = open_model(arguments.run, data)
    index = torch.randperm(data.train.n, generator=torch.Generator().manual_seed(0))[: arguments.samples]
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.speed.equality --data cifar10:DIR --run RUN --samples {arguments.samples} "
        f"--seeds {arguments.seeds} --out DIR",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
        "samples": len(index),
        "network": asdict(opened.architecture),
        "attack": compared(opened.net, data.train.images.fetch(index), data.train.labels[index]),
    }
    print(json.dumps(result["attack"], indent=1), flush=True)

    def record(digits: dict[str, Any]) -> None:
        write_atomically(arguments.result, (json.dumps(result | {"digits": digits}, indent=1) + "\n").encode())
        print(digits["bf16 - float32"], flush=True)

    end_results(arguments.out, range(1, arguments.seeds + 1), record)


if __name__ == "__main__":
    main()
