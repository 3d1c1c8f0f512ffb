"""The training loop: epochs of steps, a choice on held-out data, checkpoints from which a run goes on exactly."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from faal import checkpoint
from faal.config import Recipe
from faal.data import Batches, DataSet, HeldOut, Split, fingerprint, hold_out
from faal.engine import processes
from faal.engine.environment import environment
from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.inner.modes import attacked
from faal.intermediate.class_rule import EpochStats
from faal.methods import method
from faal.models import Architecture
from faal.outer.averaging import WeightAverage
from faal.step import Learner, Moment, train_step
from faal.train import folder
from faal.train.log import Log
from faal.train.selection import RULES, held_out_accuracy
from faal.train.state import Position, capture, generator_state, restore

HELD_OUT_SEED = 0
"""Which images are withheld depends on the data alone, never on a run's seed: a repair must not choose its epoch on
images that its base was trained on, and methods are compared on one split."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a finished run left its network."""

    best: Path
    """best.pt: the chosen epoch's weights (the last epoch's where nothing was held out)."""
    epoch: int
    """The epoch that was chosen, from 0."""
    note: str | None
    """Why there was no choice, in words."""


def train(
    net: nn.Module,
    architecture: Architecture,
    data: DataSet,
    recipe: Recipe,
    *,
    out: Path,
    seed: int,
    device: torch.device,
    origin: dict[str, Any] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Train `net` by `recipe`, or go on where an earlier call in the same folder stopped.

    Args:
        net: the network at its initial weights, or at those to fine-tune.
        architecture: what describes it.
        data: its training part is used; the test part is not looked at.
        recipe: how.
        out: the run's folder: config.yaml, environment.json, metrics.jsonl, last.pt, previous.pt, best.pt.
        seed: of everything that is random.
        device: where to train.
        origin: the checkpoint that a fine-tune starts from, for the record.
        quiet: show no progress bar.

    Raises:
        InputError: the data does not fit the network, the folder holds another run, or training diverged.
    """
    split = _training_part(data, architecture)
    select = recipe.hold_out == "select" and recipe.select != "last"
    held = hold_out(split.labels, data.num_classes, select=select, steer=False, seed=HELD_OUT_SEED)
    numerics = Numerics.choose(recipe.precision, device)
    run = _Run(net, architecture, data, split, held, recipe, out, seed, numerics)
    config = {
        "recipe": recipe.plain(),
        "architecture": asdict(architecture),
        "data": {"name": data.name, "fingerprint": run.fingerprint, "held_out": len(held.select)},
        "seed": seed,
        "precision": numerics.name,
        "origin": origin,
    }
    if processes.is_main():
        folder.describe(out, config, environment(device))
    processes.barrier()
    run.resume()
    with Log(
        out,
        every=recipe.log_every,
        title=f"{recipe.method}, seed {seed}",
        steps=recipe.epochs * len(run.batches),
        done=run.position.epoch * len(run.batches) + run.position.step,
        position=run.position.log_bytes,
        quiet=quiet,
    ) as log:
        while run.position.epoch < recipe.epochs:
            run.epoch(log)
    note = held.reason if select else "Nothing was held out: there is no selection, and the last epoch counts"
    return Outcome(best=out / "best.pt", epoch=run.position.best_epoch, note=note)


def _training_part(data: DataSet, architecture: Architecture) -> Split:
    if data.train is None:
        raise InputError(f"{data.name} has no training images; training needs some")
    if data.num_classes != architecture.num_classes:
        raise InputError(f"{data.name} has {data.num_classes} classes, the network {architecture.num_classes}")
    if data.train.images.shape[0] != architecture.channels:
        raise InputError(
            f"{data.name} has images of {data.train.images.shape[0]} channels; "
            f"the network takes {architecture.channels}"
        )
    return data.train


@torch.no_grad()
def _probe(net: nn.Module, split: Split, num_classes: int, numerics: Numerics) -> None:
    """Show the network two images, so that what does not fit is said before anything is written."""
    images = split.images.fetch(torch.arange(2)).to(numerics.device)
    try:
        with attacked(net):
            logits = net(images)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the network does not take images of shape {tuple(images.shape[1:])}: {reason}") from error
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"the network answers two images with {found}; it must return logits of shape (2, {num_classes}), "
            "one for each class of the data"
        )


class _Run:
    """A run between two steps."""

    def __init__(
        self,
        net: nn.Module,
        architecture: Architecture,
        data: DataSet,
        split: Split,
        held: HeldOut,
        recipe: Recipe,
        out: Path,
        seed: int,
        numerics: Numerics,
    ) -> None:
        self.recipe, self.held, self.out, self.seed = recipe, held, out, seed
        self.fingerprint = fingerprint(split)
        self.architecture, self.classes = architecture, data.classes
        row = method(recipe.method)
        counts = torch.bincount(split.labels[held.train], minlength=data.num_classes)
        if int(counts.min()) == 0:
            empty = data.classes[int(counts.argmin())]
            raise InputError(f"{data.name} has no training image of class {empty!r}; remove the class or add images")
        net = numerics.place(net)
        _probe(net, split, data.num_classes, numerics)
        processes.broadcast(net.state_dict().values())
        # The held-out part lives on the device by itself: it is judged after every epoch.
        judged = split.take(held.select)
        self.judged = Split(judged.images.to(numerics.device), judged.labels)
        self.batches = Batches(
            split,
            held.train,
            batch_size=recipe.batch_size,
            seed=seed,
            crop=recipe.crop,
            flip=recipe.flip,
            device=numerics.device,
            rank=processes.rank(),
            world_size=processes.world_size(),
        )
        self.learner = Learner(
            net=net,
            parallel=processes.parallel(net),
            optimizer=torch.optim.SGD(
                net.parameters(),
                lr=recipe.lr.at(0.0),
                momentum=recipe.momentum,
                weight_decay=recipe.weight_decay,
                nesterov=recipe.nesterov,
                fused=True,
            ),
            rule=row.rule(recipe, counts),
            method=row,
            recipe=recipe,
            num_classes=data.num_classes,
            seed=seed,
            numerics=numerics,
        )
        self.average = WeightAverage(net, decay=recipe.average_decay, warm_up=recipe.average == "step")
        self.position = Position()
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Go on from last.pt, or from previous.pt where that was cut off."""
        state = checkpoint.load_latest(self.out)
        if state is not None:
            self.position = restore(state["training"], self.learner, self.average)

    def epoch(self, log: Log) -> None:
        """The rest of the epoch that `position` stands in, then the choice."""
        recipe, learner, position = self.recipe, self.learner, self.position
        began, progress = time.monotonic(), position.epoch / recipe.epochs
        averaging = recipe.average != "none" and progress >= recipe.average_from - 1e-9
        learner.net.train()
        for group in learner.optimizer.param_groups:
            group["lr"] = recipe.lr.at(progress)
        if position.step == 0:
            learner.rule.begin_epoch(EpochStats(epoch=position.epoch, epochs=recipe.epochs))
        for batch in self.batches.epoch(position.epoch, start=position.step):
            share = processes.world_size() * len(batch.labels) / self.batches.global_size(position.step)
            result = train_step(learner, batch, Moment(position.epoch, progress, share))
            if averaging and recipe.average == "step":
                self.average.update()
            read = log.step(position.epoch, position.epoch * len(self.batches) + position.step, result)
            position.step += 1
            if read and position.step < len(self.batches) and self.due():
                self.save(log)
        if averaging and recipe.average == "epoch":
            self.average.update()
        log.flush()
        record: dict[str, Any] = {"lr": recipe.lr.at(progress), "seconds": round(time.monotonic() - began, 3)}
        with self.average.applied():
            record["select"] = self.choose()
        log.epoch(position.epoch, record)
        position.epoch, position.step = position.epoch + 1, 0
        self.save(log)

    def choose(self) -> dict[str, Any] | None:
        """Judge the present weights on the held-out part and keep them if none before were better."""
        score, record = float("inf"), None
        if self.judged.n > 0:
            accuracy = held_out_accuracy(
                self.learner.net,
                self.judged,
                num_classes=len(self.classes),
                attack=self.recipe.select_attack,
                epsilon=self.recipe.epsilon,
                seed=self.seed,
                numerics=self.learner.numerics,
            )
            score, record = RULES[self.recipe.select](accuracy), asdict(accuracy)
        if score > self.position.best_score or score == float("inf"):
            self.position.best_score, self.position.best_epoch = score, self.position.epoch
            if processes.is_main():
                checkpoint.save(self.out / "best.pt", self.described())
        return record

    def described(self) -> dict[str, Any]:
        """The network as it is to be used, with what it takes to use it."""
        return {
            "architecture": asdict(self.architecture),
            "classes": list(self.classes),
            "weights": {
                name: tensor.detach().clone(memory_format=torch.contiguous_format)
                for name, tensor in self.learner.net.state_dict().items()
            },
            "recipe": self.recipe.plain(),
            "seed": self.seed,
            "epoch": self.position.epoch,
            "held_out": {"data": self.fingerprint, "select": self.held.select},
        }

    def due(self) -> bool:
        """Whether it is time for a checkpoint: by the main process's clock, so that all processes agree."""
        late = processes.is_main() and time.monotonic() - self.saved_at > self.recipe.checkpoint_every
        (told,) = processes.all_sum(torch.tensor([float(late)], device=self.learner.numerics.device))
        return bool(told > 0)

    def save(self, log: Log) -> None:
        """Write last.pt; the one before it becomes previous.pt. Steps that are not logged are read first."""
        log.flush()
        self.position.log_bytes = log.position
        generators = processes.gather_objects(generator_state(self.learner.numerics.device))
        if processes.is_main():
            with self.average.applied():
                described = self.described()
            checkpoint.rotate(self.out)
            training = capture(self.position, self.learner, self.average, generators)
            checkpoint.save(self.out / "last.pt", described | {"training": training})
        self.saved_at = time.monotonic()
