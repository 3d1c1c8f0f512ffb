"""Random recipes, command lines, arrays, arguments and solver inputs: each is accepted, or rejected with a sentence."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from benchmarks.reliability.commands import Outcome, call, command
from torch import nn

import faal
from faal.config import load_recipe

POOL: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    10**30,
    -0.5,
    0.0,
    0.5,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "abc",
    "0.5",
    "8/255",
    "-1",
    "1/0",
    "kl",
    "clean",
    "clean,",
    "pgd0",
    "../x",
    "\x1b[31m",
    "=1+1",
    [],
    [1, 2],
    ["a"],
    {},
    {"a": 1},
    {1, 2},
    b"x",
    2 + 3j,
    (),
    (1,),
    range(3),
    int,
    len,
    np.float32("nan"),
    np.arange(3),
    np.zeros((0, 4)),
)
WORDS = (
    *(str(value) for value in POOL if not callable(value)),
    "digits",
    "linf",
    "l2",
    "cpu",
    "auto",
    "none",
    "-",
)
COMMANDS = (
    "train",
    "repair",
    "audit",
    "export",
    "compare",
    "report",
    "reproduce",
    "publish",
    "recipes",
    "methods",
    "zoo",
)
OPTIONS = (
    "--data",
    "--model",
    "--epsilon",
    "--norm",
    "--attacks",
    "--seed",
    "--limit",
    "--out",
    "--batch-size",
    "--lr",
    "--epochs",
    "--tau",
    "--steps",
    "--step-size",
    "--device",
    "--precision",
    "--width",
    "--classes",
    "--groups",
    "--normalize",
    "--method",
    "--constants",
    "--hold-out",
    "--engine",
    "--unknown",
)


def measure(surface: Any, work: Path, n: int, seed: int) -> dict[str, Any]:
    """`n` cases, in turn of each kind."""
    rng = random.Random(seed)
    work = work / "fuzz"
    work.mkdir(parents=True)
    kinds: dict[str, Callable[[random.Random, Path], tuple[str, Outcome]]] = {
        "recipes": _recipe,
        "command lines": _words,
        "arrays": _arrays,
        "arguments": _arguments,
        "solver": _solver,
    }
    found = {kind: {"cases": 0, "accepted": 0, "rejected": 0} for kind in kinds}
    failures = []
    for number in range(n):
        kind = list(kinds)[number % len(kinds)]
        case, outcome = kinds[kind](rng, work)
        found[kind]["cases"] += 1
        if outcome.in_words:
            found[kind]["accepted" if outcome.status == 0 else "rejected"] += 1
        else:
            failures.append(
                {"kind": kind, "case": case[:300], "status": outcome.status, "message": outcome.message[:300]}
            )
            print(f"{kind}: {case[:200]}: {outcome.message[:200]}", flush=True)
    return {"cases": n, "failures": len(failures), "by kind": found, "rows of failures": failures}


PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "method": ("pgd-at", "trades", "faal-at", "faal-trades", "cfa-at", "standard"),
    "epochs": (1, 2, 40),
    "lr": (0.1, "1/10", {0: 0.1, "1/2": 0.01}, {0: 0.1, 1: 0}),
    "tau": (0, 0.5, {0: 0, "1/2": 0.5}),
    "norm": ("linf", "l2"),
    "epsilon": ("8/255", 0.1, 0),
    "step_size": ("2/255", 0.05),
    "steps": (1, 10),
    "batch_size": (1, 32),
    "width": (4, 16),
    "average": ("none", "epoch", "step"),
}


def _recipe(rng: random.Random, work: Path) -> tuple[str, Outcome]:
    file = work / "recipe.yaml"
    content: Any = {"method": "pgd-at", "epochs": 2, "lr": 0.1}
    names = [*vars(load_recipe("digits-small-faal-at")), "unknown", 1]
    for name in rng.sample(list(PLAUSIBLE), rng.randint(0, 4)):
        content[name] = rng.choice(PLAUSIBLE[name])
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        content[rng.choice(names)] = rng.choice([value for value in POOL if _is_plain(value)])
    text = yaml.safe_dump(content)
    if rng.random() < 0.2:
        text = _broken(rng, text)
    file.write_text(text, encoding="utf-8")
    return text, call(lambda: load_recipe(str(file)))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | dict)


def _broken(rng: random.Random, text: str) -> str:
    """The text with a piece cut, doubled or replaced by characters that mean something to YAML."""
    at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return (
        text[:at] + rng.choice(["", text[at:to] * 2, "&a [*a]", "!!int a", "{", "\t", "\x00", "- ", ": "]) + text[to:]
    )


def _words(rng: random.Random, work: Path) -> tuple[str, Outcome]:
    """A command that cannot do any work: its data or its network do not exist."""
    name = rng.choice(COMMANDS)
    words = [name, *(rng.choice(WORDS) for _ in range(rng.randint(0, 2)))]
    for _ in range(rng.randint(0, 4)):
        words += [rng.choice(OPTIONS), *([] if rng.random() < 0.1 else [rng.choice(WORDS)])]
    if name in ("train", "repair", "audit", "export", "publish", "reproduce"):
        words += ["--data", "npz:missing.npz"] if name != "export" else ["--data", "missing"]
    return " ".join(words), command(work, *words)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(images.flatten(1))
        return logits


def _array(rng: random.Random) -> Any:
    """Images or labels, right or not quite."""
    shape = tuple(rng.choice([0, 1, 3, 4, 6]) for _ in range(rng.randint(0, 5)))
    shape = rng.choice([shape, (6, 1, 4, 4), (6,)])
    kind: Any = rng.choice(
        [np.float32, np.float64, np.int64, np.uint8, np.int8, np.bool_, np.complex64, object, "U3", "M8[s]"]
    )
    values = rng.choice([np.zeros, np.ones])(shape).astype(kind)
    if rng.random() < 0.2 and values.size and values.dtype.kind == "f":
        values.flat[0] = rng.choice([np.nan, np.inf, -1e-7, 1.0000001, 300.0])
    if rng.random() < 0.5 and values.dtype.kind in "fiub":
        return torch.from_numpy(values)
    return values.tolist() if rng.random() < 0.1 else values


def _arrays(rng: random.Random, work: Path) -> tuple[str, Outcome]:
    images, labels = np.random.default_rng(rng.randrange(9)).random((6, 1, 4, 4), dtype=np.float32), np.arange(6) % 3
    which = rng.random()
    if which < 0.6:
        images = _array(rng)
    if which > 0.4:
        labels = _array(rng)
    where = f"images {_named(images)}, labels {_named(labels)}"
    return where, call(lambda: faal.audit(_Net(), images, labels, attacks="clean"))


def _named(value: Any) -> str:
    return f"{type(value).__name__} {getattr(value, 'dtype', '')} {tuple(getattr(value, 'shape', ()))}"


def _arguments(rng: random.Random, work: Path) -> tuple[str, Outcome]:
    if rng.random() < 0.5:
        names = [
            "classes",
            "attacks",
            "epsilon",
            "norm",
            "seed",
            "limit",
            "groups",
            "batch_size",
            "level",
        ]
        given = {rng.choice(names): rng.choice(POOL)}
        images, labels = torch.rand(6, 1, 4, 4), torch.arange(6) % 3
        given = {"attacks": "clean"} | given
        return f"audit({given})", call(lambda: faal.audit(_Net(), images, labels, **given))
    given = {rng.choice(["tau", "ball", "statistic", "smoothing"]): rng.choice(POOL)} if rng.random() < 0.7 else {}
    classes = 3 if rng.random() < 0.6 else rng.choice(POOL)
    losses: Any = torch.rand(6) if rng.random() < 0.5 else rng.choice([*POOL, torch.rand(6, 2)])
    labels = torch.arange(6) % 3 if rng.random() < 0.5 else rng.choice([*POOL, torch.arange(6)])

    def use() -> None:
        faal.FAAL(classes, **given)(losses, torch.rand(6, 3), labels)

    return f"FAAL({classes!r}, {given})({_named(losses)}, logits, {_named(labels)} {labels!r})", call(use)


def _solver(rng: random.Random, work: Path) -> tuple[str, Outcome]:
    losses: Any = rng.choice(
        [
            torch.rand(3),
            torch.rand(2, 3),
            torch.zeros(0),
            torch.tensor(1.0),
            torch.rand(3) * 1e30,
            torch.tensor([0.1, float("nan"), 1]),
            [0.1, 0.2],
            *POOL,
        ]
    )
    tau = rng.choice([0.5, *POOL])
    given: dict[str, Any] = {"ball": rng.choice(["kl", "chi2", "cvar", *POOL])} if rng.random() < 0.5 else {}
    if rng.random() < 0.4:
        given["reference"] = rng.choice([torch.tensor([-1.0, 1, 1]), torch.tensor([0.2, 0.3, 0.5]), *POOL])
    return f"solve_kldro({losses!r}, {tau!r}, {given})", call(lambda: faal.solve_kldro(losses, tau, **given))
