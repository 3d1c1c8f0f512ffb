"""The speed of an audit's fast engine, and whether its verdicts equal the reference's.

    python -m benchmarks.speed.audit --data cifar10:DIR --speed RUN --parity RUN RUN --work DIR

writes `benchmarks/results/audit.json`. RUN is a run's folder or a checkpoint; the samples are test images, drawn once.

Speed: pyautoattack as its own documentation has it (float32, contiguous, the block as its batch) against the audit's
fast engine, block by block in one process, in turns. Seconds are the processor's: they do not count what other
processes took.

Parity: AutoAttack's verdicts, sample by sample, of the reference, of the reference with another seed, and of the fast
engine. `weaker` counts the samples that are misclassified under the reference's attack and robust under the fast
engine's; `bound` is its one-sided 95 % bound. Finished blocks are stored in the work folder, so that a killed
measurement continues, and the result is written after every block.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faal.audit.attacks.autoattack import ensemble
from faal.audit.attacks.backend import engine_for
from faal.audit.attacks.registry import attack_named
from faal.audit.blocks import Subject, attack_blocks, block_seed, clean_blocks
from faal.audit.judge import judge_attack, judge_clean
from faal.audit.statistics.intervals import upper_bounds
from faal.checkpoint import write_atomically
from faal.config import Threat
from faal.data import DataSet, load_data
from faal.data.images import InMemory
from faal.engine.determinism import preserve_rng, strict_float32
from faal.engine.environment import environment
from faal.engine.memory import ChunkedForward
from faal.inner.modes import attacked
from faal.models import open_model

RESULTS = Path(__file__).parents[1] / "results" / "audit.json"
CPU = torch.device("cpu")
AUTOATTACK = attack_named("autoattack")
SEEDS = {"reference": 1, "other seed": 2, "fast": 1}
"""The seeds of the three audits that parity compares."""
BEYOND_SELF, WEAKER = 0.001, 0.003
"""The limits: of disagreement beyond the reference's with itself, and of the bound on `weaker`."""


def drawn(data: DataSet, count: int) -> tuple[Tensor, Tensor]:
    """`count` test images (N, channels, H, W) and their labels, the same in every measurement."""
    assert data.test is not None
    index = torch.randperm(len(data.test.labels), generator=torch.Generator().manual_seed(0))[:count]
    return data.test.images.fetch(index), data.test.labels[index]


def subject_of(run: Path, data: DataSet, images: Tensor, labels: Tensor, block_size: int) -> Subject:
    """A run's network and the samples to attack, as an audit has them."""
    opened = open_model(run, data)
    return Subject(
        model=ChunkedForward(opened.net.eval(), block_size),
        images=InMemory(images),
        labels=labels,
        index=torch.arange(len(labels)),
        device=CPU,
        threat=opened.threat,
        seed=SEEDS["reference"],
        block_size=block_size,
        key=str(opened.record["sha256"]),
    )


# --- speed -----------------------------------------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    """The processor's seconds, over all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def by_hand(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat, seed: int) -> None:
    """pyautoattack as its documentation calls it: float32, default memory format, weights not frozen."""
    classes = net(images[:1]).shape[1]
    auto = ensemble(net, threat=threat, seed=seed, num_classes=classes, device=CPU)
    auto.run_standard_evaluation(images, labels, batch_size=len(images))


def audited(subject: Subject, block: int) -> None:
    """The same block by the audit: the choice of the engine, the clean pass, the attack and its confirmation."""
    rows, images, seed = subject.rows(block), subject.fetch(block), block_seed(subject.seed, block)
    with attacked(subject.model), strict_float32(CPU), preserve_rng():
        engine = engine_for("fast", subject.model, images)
        clean = judge_clean(subject.model, images, subject.index[rows], None)
        judge_attack(
            subject.model,
            images,
            subject.labels[rows],
            subject.index[rows],
            clean,
            AUTOATTACK,
            threat=subject.threat,
            seed=seed,
            fast=engine.fast,
        )


def measured_speed(subject: Subject, done: list[dict[str, float]], report: Callable[[], None]) -> None:
    """One pair of times per block, appended to `done`."""
    net = subject.model.model
    assert isinstance(net, nn.Module)
    report()
    for block in subject.blocks()[len(done) :]:
        images, labels, seed = (
            subject.fetch(block),
            subject.labels[subject.rows(block)],
            block_seed(subject.seed, block),
        )
        ways: dict[str, Callable[[], None]] = {
            "plain": lambda: by_hand(net, images, labels, subject.threat, seed),  # noqa: B023
            "fast": lambda: audited(subject, block),  # noqa: B023
        }
        order = sorted(ways, reverse=block % 2 == 0)
        done.append({name: seconds(ways[name]) for name in order})
        report()


def speed_record(times: list[dict[str, float]], samples: int) -> dict[str, Any]:
    if not times:
        return {}
    ratios = [pair["plain"] / pair["fast"] for pair in times]
    total = {name: sum(pair[name] for pair in times) for name in ("plain", "fast")}
    return {
        "samples": samples,
        "blocks": times,
        "ratio": total["plain"] / total["fast"],
        "least": min(ratios),
        "most": max(ratios),
    }


# --- parity ----------------------------------------------------------------------------------------------------------


def robust_samples(subject: Subject, block: int, name: str, folder: Path) -> NDArray[np.bool_]:
    """(B,) which samples of a block are robust in one of the three audits."""
    subject = replace(subject, seed=SEEDS[name])
    with attacked(subject.model), strict_float32(CPU), preserve_rng():
        if name == "fast":
            subject = replace(subject, engine=engine_for("fast", subject.model, subject.fetch(0)))
        alone = len(subject.labels)  # as if there were a process for every block
        clean = clean_blocks(subject, rank=block, world_size=alone)
        verdict = attack_blocks(subject, AUTOATTACK, clean, folder=folder, rank=block, world_size=alone)[block]
    return np.asarray(verdict.predicted == subject.labels[subject.rows(block)].numpy())


def parity_record(robust: dict[str, list[NDArray[np.bool_]]]) -> dict[str, Any]:
    """The comparison of which samples are robust, block by block, in the three audits."""
    reference, other, fast = (np.concatenate(robust[name]) for name in SEEDS)
    n, weaker = len(reference), int((~reference & fast).sum())
    with_fast, with_itself = float((reference != fast).mean()), float((reference != other).mean())
    bound = float(upper_bounds(weaker, n, 0.05))
    return {
        "samples": n,
        "robust": {name: float(np.concatenate(parts).mean()) for name, parts in robust.items()},
        "disagreement": with_fast,
        "disagreement with itself": with_itself,
        "weaker": weaker,
        "bound": bound,
        "stronger": int((reference & ~fast).sum()),
        "holds": with_fast <= with_itself + BEYOND_SELF and bound < WEAKER,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as in `faal audit`")
    parser.add_argument("--speed", type=Path, help="the run to measure the speed on")
    parser.add_argument("--parity", type=Path, nargs="*", default=[], help="the runs to compare verdicts on")
    parser.add_argument("--work", type=Path, required=True, help="a folder for finished blocks")
    parser.add_argument("--speed-samples", type=int, default=400)
    parser.add_argument("--speed-block", type=int, default=100, help="samples per block, and pyautoattack's batch")
    parser.add_argument("--samples", type=int, default=2000, help="of each model, for parity")
    parser.add_argument("--block", type=int, default=250, help="samples per block, for parity")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load_data(arguments.data)
    result: dict[str, Any] = {
        "command": "python -m benchmarks.speed.audit --data cifar10:DIR --speed RUN --parity RUN RUN --work DIR "
        f"--speed-samples {arguments.speed_samples} --speed-block {arguments.speed_block} "
        f"--samples {arguments.samples} --block {arguments.block}",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
    }

    def record(**found: dict[str, Any]) -> None:
        result.update(found)
        write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
        print(found, flush=True)

    if arguments.speed:
        images, labels = drawn(data, arguments.speed_samples)
        stored = arguments.work / "speed.json"
        times = json.loads(stored.read_text()) if stored.exists() else []

        def timed() -> None:
            write_atomically(stored, json.dumps(times).encode())
            done = min(len(times) * arguments.speed_block, len(labels))
            record(speed=speed_record(times, done))

        measured_speed(subject_of(arguments.speed, data, images, labels, arguments.speed_block), times, timed)

    if arguments.parity:
        images, labels = drawn(data, arguments.samples)
        subjects = {run.name: subject_of(run, data, images, labels, arguments.block) for run in arguments.parity}
        robust: dict[str, dict[str, list[NDArray[np.bool_]]]] = {run: {name: [] for name in SEEDS} for run in subjects}
        for block in next(iter(subjects.values())).blocks():
            for run, subject in subjects.items():
                for name, blocks in robust[run].items():
                    blocks.append(robust_samples(subject, block, name, arguments.work / "blocks"))
            together = {name: [part for run in subjects for part in robust[run][name]] for name in SEEDS}
            each = {run: parity_record(parts) for run, parts in robust.items()}
            record(parity={"together": parity_record(together), "each": each})


if __name__ == "__main__":
    main()
