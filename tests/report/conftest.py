"""Run folders with the files that training and audits write, generated from a seed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

DIGITS = tuple("0123456789")


def interval(correct: int, n: int, level: float = 0.95) -> dict[str, float | None]:
    """An accuracy with its exact binomial interval, as `audit.json` writes it."""
    tail = (1 - level) / 2
    if n == 0:
        return {"value": None, "low": 0.0, "high": 1.0}
    low = beta.ppf(tail, correct, n - correct + 1) if correct else 0.0
    high = beta.ppf(1 - tail, correct + 1, n - correct) if correct < n else 1.0
    return {"value": correct / n, "low": float(low), "high": float(high)}


def attack_entry(
    label: np.ndarray, predicted: np.ndarray, correct: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """One attack of `audit.json` from its verdicts."""
    rows = []
    for c, name in enumerate(classes):
        verdicts = correct[label == c]
        rows.append(
            {"name": name, "n": len(verdicts), "correct": int(verdicts.sum())}
            | interval(int(verdicts.sum()), len(verdicts))
        )
    every, rows = rows, [row for row in rows if row["n"]]
    worst = min(rows, key=lambda row: row["value"])
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (label, predicted), 1)
    average = interval(int(correct.sum()), len(correct))
    best = max(rows, key=lambda row: row["value"])
    gap, deviation = best["value"] - worst["value"], float(np.std([row["value"] for row in rows]))
    lowest = sorted(rows, key=lambda row: row["value"])[: -(-len(rows) // 10)]
    tenth = {"classes": [row["name"] for row in lowest], "value": float(np.mean([row["value"] for row in lowest]))}
    return {
        "average": average,
        "balanced": average | {"value": float(np.mean([row["value"] for row in rows]))},
        "worst": {"class": worst["name"], **{key: worst[key] for key in ("value", "low", "high")}},
        "worst_tenth": tenth | {"low": worst["low"], "high": best["high"]} if len(rows) >= 20 else None,
        "gap": {
            "best": best["name"],
            "worst": worst["name"],
            "value": gap,
            "low": 0.8 * gap,
            "high": min(1, 1.1 * gap),
        },
        "deviation": {"value": deviation, "low": 0.9 * deviation, "high": 1.2 * deviation},
        "classes": every,
        "confusion": confusion.tolist(),
        "parameters": {"steps": 20},
        "seconds": 1.5,
    }


def write_run(
    directory: Path,
    *,
    seed: int = 0,
    classes: Sequence[str] = DIGITS,
    per_class: int | Sequence[int] = 40,
    lowest: float = 0.3,
    highest: float = 0.95,
    attacks: Sequence[str] = ("clean", "pgd20", "cw20", "all"),
    epsilon: float = 8 / 255,
    warnings: Sequence[str] = (),
    epochs: int = 4,
    side: int = 8,
    channels: int = 1,
) -> dict[str, Any]:
    """Writes a full run's folder and returns the content of its `audit.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    count = len(classes)
    label = np.repeat(np.arange(count), per_class)
    strength = rng.permutation(np.linspace(lowest, highest, count))[label]
    draw = rng.random(len(label))
    verdicts: dict[str, np.ndarray] = {"label": label, "index": np.arange(len(label))}
    entries = {}
    for name in attacks:
        correct = draw < (0.5 + 0.5 * strength if name == "clean" else strength)
        predicted = np.where(correct, label, (label + rng.integers(1, count, len(label))) % count)
        verdicts |= {f"{name}_correct": correct, f"{name}_predicted": predicted.astype(np.int16)}
        entries[name] = attack_entry(label, predicted, correct, classes)
    audit = {
        "schema": "faal-audit/1",
        "model": {"name": "small", "width": 32, "sha256": "ab12" * 16, "file": "best.pt"},
        "data": {"name": "digits", "split": "test", "n": len(label), "classes": list(classes)},
        "threat": {"norm": "linf", "epsilon": epsilon},
        "seed": 0,
        "engine": "fast",
        "block_size": 250,
        "level": 0.95,
        "interval_method": "Clopper-Pearson",
        "warnings": list(warnings),
        "environment": {
            "python": "3.11.7",
            "packages": {"faal": "0.1.0", "torch": "2.13.0"},
            "processor": "a processor, 2 cores",
        },
        "attacks": entries,
    }
    (directory / "audit.json").write_text(json.dumps(audit))
    np.savez(directory / "verdicts.npz", **verdicts)
    _write_examples(directory, rng, count, side, channels, epsilon)
    (directory / "config.yaml").write_text(f"method: faal-at\nepsilon: {epsilon}\nepochs: {epochs}\n")
    (directory / "environment.json").write_text(json.dumps({"python": "3.11.7", "device": "cpu"}))
    if epochs:
        _write_metrics(directory, rng, count, epochs)
    return audit


def _write_examples(
    directory: Path, rng: np.random.Generator, count: int, side: int, channels: int, epsilon: float
) -> None:
    label = np.arange(12) % count
    original = rng.integers(0, 256, (12, channels, side, side), dtype=np.uint8)
    moved = original + np.rint(255 * epsilon) * rng.choice([-1, 1], original.shape)
    np.savez(
        directory / "examples.npz",
        index=np.arange(12),
        original=original,
        adversarial=np.clip(moved, 0, 255).astype(np.uint8),
        label=label,
        clean_predicted=label.astype(np.int16),
        adversarial_predicted=((label + 1) % count).astype(np.int16),
        attack=np.array(["pgd20"] * 12),
    )


def _write_metrics(directory: Path, rng: np.random.Generator, count: int, epochs: int) -> None:
    records: list[dict[str, Any]] = []
    for epoch in range(epochs):
        for step in range(10 * epoch, 10 * epoch + 10):
            weights = rng.dirichlet(np.linspace(1, 4, count)).tolist()
            measured = {"loss": 2.0 / (1 + step), "accuracy": 0.4 + 0.001 * step}
            records.append({"event": "batch", "epoch": epoch, "step": step, **measured, "weights": weights})
        select = {"average": 0.5 + 0.02 * epoch, "worst": 0.2 + 0.03 * epoch, "classes": [0.5] * count}
        records.append({"event": "epoch", "epoch": epoch, "lr": 0.01, "seconds": 1.0, "select": select})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def write_curve(
    directory: Path,
    *,
    epsilons: Sequence[float] = (0.0, 2 / 255, 4 / 255, 8 / 255),
    classes: Sequence[str] = DIGITS,
    norm: str = "linf",
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes a curve's `curve.json` into a folder and returns its content."""
    directory.mkdir(parents=True, exist_ok=True)
    label = np.repeat(np.arange(len(classes)), 40)
    withstands = np.random.default_rng(5).random(len(label)) * (0.4 + 0.6 * label / len(classes))
    points = []
    for i, epsilon in enumerate(epsilons):
        correct = withstands > 0.08 * i
        entry = attack_entry(label, np.where(correct, label, (label + 1) % len(classes)), correct, classes)
        points.append({"epsilon": epsilon, "stood_again": 0} | entry)
    content = {
        "schema": "faal-curve/1",
        "model": {"name": "small"},
        "data": {"name": "digits", "split": "test", "n": len(label), "classes": list(classes)},
        "norm": norm,
        "seed": 0,
        "engine": "reference",
        "level": 0.95,
        "attacks": ["pgd20"],
        "warnings": list(warnings),
        "environment": {},
        "points": points,
    }
    (directory / "curve.json").write_text(json.dumps(content))
    return content


def write_demo(directory: Path, *, seeds: Sequence[int] = (0, 1, 2), **options: Any) -> dict[str, Any]:
    """Writes a demo's folder and returns the content of its `demo.json`."""
    strengths = {"base": (0.31, 0.93), "control": (0.35, 0.92), "repaired": (0.44, 0.88)}
    rng = np.random.default_rng(7)
    entries = []
    for seed in seeds:
        entry: dict[str, Any] = {"seed": seed}
        for role, (lowest, _) in strengths.items():
            average = {"base": 0.71, "control": 0.715, "repaired": 0.7}[role]
            entry[role] = {"average": average + 0.01 * rng.normal(), "worst": lowest + 0.02 * rng.normal()}
        entries.append(entry)
    for i, (role, (lowest, highest)) in enumerate(strengths.items()):
        folder = directory / f"seed-{seeds[0]}" / role
        write_run(folder, seed=10 + i // 3, lowest=lowest, highest=highest, **options)
    content = {
        "seeds": entries,
        "autoattack": {role: {"average": 0.69 - 0.01 * i, "worst": 0.3 + 0.05 * i} for i, role in enumerate(strengths)},
        "seconds": 200.0,
    }
    (directory / "demo.json").write_text(json.dumps(content))
    return content


@pytest.fixture(scope="session")
def run_folder() -> Callable[..., dict[str, Any]]:
    """`run_folder(directory, **options)` writes a run's folder and returns its audit."""
    return write_run


@pytest.fixture(scope="session")
def demo_folder() -> Callable[..., dict[str, Any]]:
    """`demo_folder(directory, **options)` writes a demo's folder and returns its result."""
    return write_demo


@pytest.fixture(scope="session")
def curve_folder() -> Callable[..., dict[str, Any]]:
    """`curve_folder(directory, **options)` writes a curve's file and returns its content."""
    return write_curve
