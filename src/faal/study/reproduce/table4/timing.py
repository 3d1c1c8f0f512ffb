"""`table4`: the time per epoch of each method, and its properties from the method table.

All methods are timed in one process and in turns, one step of each at a time, so that any other load of the machine
affects all of them alike. The time of an epoch is its number of steps times the median time of a step, plus that of
the evaluations on withheld images that some methods require. The images are noise of the data's shape: the time does
not depend on their content.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from faal.data import Batch, Batches, DataSet, InMemory, Split
from faal.engine.environment import environment
from faal.engine.numerics import Numerics
from faal.engine.progress import progress_bar
from faal.intermediate.class_rule import EpochStats, EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics
from faal.methods import METHODS, steers
from faal.models import Architecture, build_model
from faal.step import Learner, StepContext, train_step
from faal.study.reproduce import paper
from faal.study.reproduce.rows import Cost, Row, TableSpec
from faal.study.reproduce.scales import ProtocolName, Scale, recipe_of, setting_of
from faal.study.reproduce.tables import TABLE2, TABLE3
from faal.train.evaluate import GATE, evaluate
from faal.train.learner import learner_for
from faal.train.parts import parts_of

ROWS = tuple(
    Row(name=name, label=label, method=name, start="trades" if name == "frl-rwrm" else None)
    for name, label in {
        "trades": "TRADES",
        "frl-rwrm": "FRL-RWRM",
        "wat": "WAT",
        "cfa-trades": "CFA",
        "faal-trades": "FAAL",
    }.items()
)
"""The paper's rows; FRL fine-tunes a TRADES network."""

TURNS = 24
"""Steps of each method, taken in turns."""
WARM_UP = 3
"""Steps before them, which are not timed."""
BATCHES = 2
"""Batches that the steps use in turns."""

SHAPES = {"digits": (90, 10, (1, 8, 8)), "cifar10": (5000, 10, (3, 32, 32)), "cifar100": (500, 100, (3, 32, 32))}
"""Training images of a class, classes, and the shape of an image."""


def measure(scale: Scale, protocol: ProtocolName, device: torch.device) -> tuple[list[Cost], list[str]]:
    """Time an epoch of each method on the networks of tables 2 and 3.

    Args:
        scale: of the reproduction.
        protocol: `honest` or `published`.
        device: the device to measure on, which no other process should use.

    Returns:
        A row per method, and sentences on the measurement.
    """
    tables = {setting_of(table, scale): table for table in (TABLE2, TABLE3)}
    minutes: dict[str, dict[str, float]] = {row.method: {} for row in ROWS}
    with progress_bar() as bar:
        task = bar.add_task("table4", total=len(tables) * (WARM_UP + TURNS) * len(ROWS), note="")
        for setting, table in tables.items():
            timed = [_TimedMethod.of(table, row, scale, protocol, device) for row in ROWS]
            for turn in range(WARM_UP + TURNS):
                for row, each in zip(ROWS, timed, strict=True):
                    each.step(counts=turn >= WARM_UP)
                    bar.update(task, advance=1, note=f"{setting}, {row.label}")
            for row, each in zip(ROWS, timed, strict=True):
                minutes[row.method][setting] = each.epoch() / 60
    costs = [
        Cost(
            label=row.label,
            method=row.method,
            minutes=minutes[row.method],
            paper=paper.TABLE4[row.method],
            level=METHODS[row.method].level,
            adversary_free=METHODS[row.method].adversary_free,
            steers=METHODS[row.method].steers,
        )
        for row in ROWS
    ]
    return costs, _notes(device)


def _notes(device: torch.device) -> list[str]:
    versions = environment(device)
    machine = (
        versions["device"] if device.type == "cuda" else f"{versions['processor']}, with {versions['threads']} at work"
    )
    return [
        f"Measured: the median of {TURNS} steps of each method, all methods in turns in one process, times the "
        "steps of an epoch, and the evaluations on withheld images that a method requires; the selection of the "
        "epoch on withheld images, the same for all, is not included.",
        "The images were noise, in the shape and number of the data.",
        f"Measured on {machine}, at commit {versions['commit'] or 'unknown'}.",
    ]


@dataclass(kw_only=True)
class _TimedMethod:
    """A method in the last quarter of its run, with the seconds of its steps."""

    learner: Learner
    batches: Sequence[Batch]
    steps_per_epoch: int
    step_context: StepContext
    evaluations: Sequence[EvaluationRequest]
    """On withheld images, in every epoch: the rule's, and that of the gate of a weight average."""
    withheld: Split
    seconds: list[float]

    @classmethod
    def of(
        cls, table: TableSpec, row: Row, scale: Scale, protocol: ProtocolName, device: torch.device
    ) -> "_TimedMethod":
        recipe = recipe_of(table, row, scale, protocol)
        data = noise(scale.data or table.data)
        parts = parts_of(data, recipe, steers=steers(recipe), device=device)
        architecture = Architecture.of(recipe, data)
        net, images = build_model(architecture, seed=0).to(device), parts.full.images.fetch(torch.arange(1)).to(device)
        numerics = Numerics.choose(recipe.precision, device, net, images)
        net = numerics.place(net).train()
        counts = torch.bincount(parts.full.labels[parts.train], minlength=data.num_classes)
        learner = learner_for(net, recipe, counts, seed=0, numerics=numerics)
        # A learning rate so low that the weights hardly change, although the images are noise.
        learner.optimizer.param_groups[0]["lr"] = 1e-6
        batches = Batches(
            parts.full, parts.train, batch_size=recipe.batch_size, seed=0, crop=recipe.crop, flip=recipe.flip,
            device=device, memory=numerics.memory,
        )  # fmt: skip
        epoch = recipe.epochs - 1
        rule_request, gate_request = learner.rule.evaluation(epoch), GATE if recipe.average == "gated" else None
        timed = cls(
            learner=learner,
            batches=[batch for _, batch in zip(range(BATCHES), batches.epoch(epoch), strict=False)],
            steps_per_epoch=len(batches),
            step_context=StepContext(epoch, epoch / recipe.epochs),
            evaluations=[request for request in (rule_request, gate_request) if request is not None],
            withheld=parts.steer,
            seconds=[],
        )
        metrics = None if rule_request is None else timed.evaluate(rule_request)
        learner.rule.begin_epoch(EpochStats(epoch=epoch, epochs=recipe.epochs, metrics=metrics))
        return timed

    def evaluate(self, request: EvaluationRequest) -> ClassMetrics:
        """Evaluate the network on withheld images."""
        learner = self.learner
        return evaluate(
            learner.net, self.withheld, request, num_classes=learner.num_groups, threat=learner.recipe.threat, seed=0,
            numerics=learner.numerics,
        )  # fmt: skip

    def step(self, *, counts: bool) -> None:
        """One step, timed until the device has finished it."""
        started = self.clock()
        train_step(self.learner, self.batches[len(self.seconds) % len(self.batches)], self.step_context)
        if counts:
            self.seconds.append(self.clock() - started)

    def epoch(self) -> float:
        """Seconds of an epoch."""
        started = self.clock()
        for request in self.evaluations:
            self.evaluate(request)
        return self.steps_per_epoch * statistics.median(self.seconds) + self.clock() - started

    def clock(self) -> float:
        """The time in seconds, after all pending work of the device."""
        if self.learner.numerics.device.type == "cuda":
            torch.cuda.synchronize(self.learner.numerics.device)
        return time.perf_counter()


def noise(name: str) -> DataSet:
    """Images of noise, in the number and shape of a data set's training images; a few test images."""
    images_per_class, classes, shape = SHAPES[name]
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        return Split(InMemory(images), torch.arange(count) % classes)

    return DataSet(name, tuple(str(c) for c in range(classes)), split(images_per_class * classes), split(classes))
