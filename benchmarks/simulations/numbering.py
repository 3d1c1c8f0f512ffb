"""How often an audit warns that model and data number the classes differently, where they do and where they do not.

    python -m benchmarks.simulations.numbering AUDIT.JSON...

writes `benchmarks/results/numbering.json`. A draw is a test set of its own: labels, and predictions drawn with the
probabilities of a confusion matrix. The networks' confusion matrices are the clean ones of the audits that are named;
besides there are untrained linear networks on the digits.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from faal.audit.misuse.class_order import class_order
from faal.checkpoint import write_atomically
from faal.data import load_data
from faal.engine.environment import environment

RESULTS = Path(__file__).parents[1] / "results" / "numbering.json"
DRAWS, SEED = 1000, 1
SIZES = (10, 30, 100, 1000)
"""Images per class."""

Shares = NDArray[np.float64]
Numbers = NDArray[np.int64]
Drawn = tuple[Numbers, Numbers, int]
Draw = Callable[[np.random.Generator], Drawn]
"""Predictions, labels, and the number of classes."""


def predictions(shares: Shares, n: int | Numbers, rng: np.random.Generator) -> Drawn:
    """Predictions 0 to C - 1 for `n` images of each class, drawn with these probabilities (C, C)."""
    sizes = np.broadcast_to(np.asarray(n), len(shares))
    given = [rng.choice(len(shares), size=k, p=row) for k, row in zip(sizes, shares, strict=True)]
    return np.concatenate(given), np.repeat(np.arange(len(shares)), sizes), len(shares)


def alike(num_classes: int, own: float) -> Shares:
    """Probabilities by which each class is predicted as itself with this share, as all others equally often."""
    rest = (1 - own) / (num_classes - 1)
    return np.full((num_classes, num_classes), rest) + (own - rest) * np.eye(num_classes)


def network(networks: Sequence[Shares], n: int | Numbers, rng: np.random.Generator) -> Drawn:
    """The predictions of one of the networks."""
    return predictions(networks[int(rng.integers(len(networks)))], n, rng)


def tailed(networks: Sequence[Shares], n: int, rng: np.random.Generator) -> Drawn:
    """One class has `n` images, each further one half as many, down to 1."""
    sizes = np.maximum(1, n * 0.5 ** np.arange(len(networks[0]))).astype(np.int64)
    return network(networks, rng.permutation(sizes), rng)


def hundred(own: float, n: int, rng: np.random.Generator) -> Drawn:
    """100 classes of accuracies around `own` (deviation 20 points, 5 to 95 %), each confused with a few others."""
    rates = np.clip(rng.normal(own, 0.2, 100), 0.05, 0.95)
    others = rng.dirichlet(np.full(99, 0.05), 100)
    shares = [np.insert((1 - p) * row, c, p) for c, (p, row) in enumerate(zip(rates, others, strict=True))]
    return predictions(np.stack(shares), n, rng)


def untrained(images: torch.Tensor, labels: Numbers, rng: np.random.Generator) -> Drawn:
    """The predictions of a linear layer with PyTorch's initial weights."""
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(int(rng.integers(2**31)))
        predicted: Numbers = torch.nn.Linear(images.shape[1], 10)(images).argmax(dim=1).numpy()
    return predicted, labels, 10


def swapped(draw: Draw, rng: np.random.Generator) -> Drawn:
    """The numbers of two classes, drawn at random, are exchanged in the predictions."""
    predicted, labels, num_classes = draw(rng)
    order, pair = np.arange(num_classes), rng.choice(num_classes, 2, replace=False)
    order[pair] = pair[::-1]
    return order[predicted], labels, num_classes


def renumbered(draw: Draw, rng: np.random.Generator) -> Drawn:
    """The numbers of all classes are permuted at random in the predictions."""
    predicted, labels, num_classes = draw(rng)
    return rng.permutation(num_classes)[predicted], labels, num_classes


def settings(networks: Sequence[Shares]) -> dict[str, Draw]:
    """The settings by name; those of networks where any are given."""
    right: dict[str, Draw] = {f"10 classes at 90%, {n}": partial(predictions, alike(10, 0.9), n) for n in SIZES}
    if networks:
        right |= {f"networks, {n}": partial(network, networks, n) for n in SIZES}
        right |= {f"networks, long tail from {n}": partial(tailed, networks, n) for n in (20, 100, 500)}
    digits = load_data("digits").test
    assert digits is not None
    images, labels = digits.images.fetch(torch.arange(digits.n)).flatten(1), digits.labels.numpy()
    return {
        **{f"as they are: {name}": draw for name, draw in right.items()},
        **{f"as they are: 100 classes at {p:.0%}, {n}": partial(hundred, p, n) for p in (0.3, 0.6) for n in (10, 100)},
        **{
            f"as they are: 2 classes at {p:.0%}, 1000": partial(predictions, alike(2, p), 1000)
            for p in (1 / 3, 0.4, 0.5)
        },
        "as they are: untrained": partial(untrained, images, labels),
        **{f"two swapped: {name}": partial(swapped, draw) for name, draw in right.items()},
        **{f"renumbered: {name}": partial(renumbered, draw) for name, draw in right.items()},
    }


def simulate(draw: Draw, *, draws: int, seed: int) -> int:
    """The number of draws in which the audit warns."""
    rng, warned = np.random.default_rng(seed), 0
    for at in range(draws):
        predicted, labels, num_classes = draw(rng)
        found = class_order(predicted.astype(np.int16), labels, [str(c) for c in range(num_classes)], seed=at)
        warned += found.warning is not None
    return warned


def confusion(path: Path) -> Shares:
    """An audit's clean confusion matrix, each row in shares of its class."""
    counts = np.array(json.loads(path.read_text())["attacks"]["clean"]["confusion"], dtype=np.float64)
    shares: Shares = counts / counts.sum(axis=1, keepdims=True)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audits", type=Path, nargs="*", metavar="AUDIT.JSON")
    parser.add_argument("--draws", type=int, default=DRAWS, help="per setting")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = [confusion(path) for path in arguments.audits]
    found = {}
    for place, (name, draw) in enumerate(settings(networks).items()):
        found[name] = simulate(draw, draws=arguments.draws, seed=SEED + place)
        print(f"{name}: {found[name]} of {arguments.draws}", flush=True)
    result = {
        "command": "python -m benchmarks.simulations.numbering AUDIT.JSON...",
        "environment": {k: v for k, v in environment(torch.device("cpu")).items() if k != "command"},
        "networks": [np.diag(shares).round(4).tolist() for shares in networks],
        "draws": arguments.draws,
        "seed": SEED,
        "said": found,
    }
    write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
    print(arguments.out)


if __name__ == "__main__":
    main()
