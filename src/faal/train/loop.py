"""The training loop: epochs of steps, selection on held-out data, checkpoints from which a run continues exactly."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faal import checkpoint
from faal.config import Recipe
from faal.data import Batch, DataSet, Split
from faal.engine import interrupts, processes
from faal.engine.environment import environment
from faal.engine.numerics import Numerics
from faal.engine.ordinary import ordinary_modes
from faal.engine.pauses import Pauses
from faal.engine.seeds import derive_seed
from faal.engine.writers.lock import folder_lock
from faal.intermediate.class_rule import EpochStats, EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics
from faal.methods import epochs_of_training, searches_offsets, steers
from faal.models import Architecture
from faal.outer.averaging import GatedAverage
from faal.step import StepContext, train_step
from faal.train import folder
from faal.train.checks import check_alike, check_data, check_groups, check_logits, check_method, check_net
from faal.train.evaluate import GATE, evaluate
from faal.train.forks import save_fork, start_from
from faal.train.learner import average_for, batches_for, learner_for
from faal.train.log import Log
from faal.train.notes import notes_of
from faal.train.offsets import EVALUATIONS, rule_for_offsets, with_best_offsets
from faal.train.outcome import OffsetSearch, Outcome, recorded_outcome
from faal.train.parts import Parts, parts_of
from faal.train.record import RunRecord
from faal.train.selection import RULES, HeldOutAccuracy, selection_request
from faal.train.state import LatestState, TrainingState, capture, generator_state, restore


@ordinary_modes()
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
    keep: Iterable[int] = (),
    fork: Path | None = None,
    parts: Parts | None = None,
    store_epochs: bool = False,
) -> Outcome:
    """Train `net` by `recipe`, or continue where an earlier call in the same folder stopped.

    Args:
        net: the network at its initial weights, or at those to fine-tune.
        architecture: its description.
        data: the training part is used; the test part only if the recipe chooses the epoch on it.
        recipe: every setting of the run.
        out: the run's folder: config.yaml, environment.json, metrics.jsonl, last.pt, previous.pt, best.pt.
        seed: the seed of all random numbers.
        device: the device to train on.
        origin: the checkpoint that a fine-tune starts from, for the record; its `withheld` lists the parts that
            it was not trained on (`models.provenance`).
        quiet: no progress bar.
        keep: epochs at whose beginning the full state is stored as fork-EPOCH.pt, for other runs to start from.
        fork: such a file, of a run that is identical before that epoch: this run starts there.
        parts: the images to train on and to choose on; those of the recipe if unset.
        store_epochs: whether to store the network of each epoch, as epoch-EPOCH.pt in the format of best.pt.

    Returns:
        The file of the chosen network, and notes on the run.

    Raises:
        InputError: the data does not fit the network, the folder contains another run, the fork is of a different
            run, training diverged, or the method trains nothing and there is no `origin`.
    """
    check_data(data, architecture)
    check_groups(data, recipe.method)
    check_method(recipe, trained=origin is not None)
    if parts is None:
        parts = parts_of(data, recipe, steers=steers(recipe), device=device, seed=seed)
    images = parts.full.images.fetch(torch.arange(2)).to(device)
    check_net(net.to(device), images, data.num_classes, recipe)
    numerics = Numerics.choose(recipe.precision, device, net, images)
    check_alike(numerics)
    record = RunRecord.of(data, parts, recipe, architecture, seed=seed, origin=origin)
    trainer = Trainer(net, parts, record, out=out, numerics=numerics, fork_epochs=frozenset(keep), store=store_epochs)
    with folder_lock(out):
        description = record.config(numerics.name), environment(device)
        processes.on_main(partial(folder.describe, out, *description, forks=fork is not None))
        # For networks that draw random numbers; a resumed run or a fork restores its generators.
        torch.manual_seed(derive_seed(seed, "network", processes.rank()))
        trainer.resume(fork)
        if (outcome := trainer.recorded_outcome()) is not None:
            return outcome
        with Log(
            out,
            every=recipe.log_every,
            title=f"{recipe.method}, seed {seed}",
            steps=trainer.epochs * len(trainer.batches) + (EVALUATIONS if searches_offsets(recipe) else 0),
            done=trainer.steps_done,
            position=trainer.state.log_bytes,
            means=trainer.state.logged,
            quiet=quiet,
        ) as log:
            return trainer.run(log)


class Trainer:
    """A run: its learner, its batches, and its progress.

    Args:
        net: the network, on the device.
        parts: the training images and the withheld images.
        record: the run's settings, for its files.
        out: the run's folder.
        numerics: device and precision.
        fork_epochs: epochs at whose beginning the full state is stored.
        store: whether to store the network of each epoch.
    """

    def __init__(
        self,
        net: nn.Module,
        parts: Parts,
        record: RunRecord,
        *,
        out: Path,
        numerics: Numerics,
        fork_epochs: frozenset[int] = frozenset(),
        store: bool = False,
    ) -> None:
        recipe, seed, self.store = record.recipe, record.seed, store
        self.recipe, self.parts, self.record, self.out, self.fork_epochs = recipe, parts, record, out, fork_epochs
        self.epochs = epochs_of_training(recipe)
        self.counts = torch.bincount(parts.full.groups[parts.train], minlength=len(record.groups))
        net = numerics.place(net)
        processes.broadcast(net.state_dict().values())
        self.batches = batches_for(parts, recipe, seed=seed, numerics=numerics)
        self.learner = learner_for(net, recipe, self.counts, seed=seed, numerics=numerics)
        self.average = average_for(net, recipe, len(self.batches))
        self.state, self.latest = TrainingState(), LatestState(out)
        self.pauses, self.epoch_began = Pauses(recipe.checkpoint_every, numerics.device), time.monotonic()

    @property
    def progress(self) -> float:
        """The completed fraction of the run at the start of the current epoch, in [0, 1)."""
        return self.state.epoch / self.recipe.epochs

    @property
    def steps_done(self) -> int:
        """Completed steps of the run."""
        return self.state.epoch * len(self.batches) + self.state.step

    @property
    def averages(self) -> bool:
        """Whether the weights of the current epoch are averaged."""
        return self.recipe.average != "none" and self.progress >= self.recipe.averaging_starts - 1e-9

    def run(self, log: Log) -> Outcome:
        """Run the remaining epochs, then the search for offsets if the recipe has one."""
        with interrupts.reporting(lambda message: message or self.state.saved), interrupts.finishing():
            while self.state.epoch < self.epochs:
                self.epoch(log)
        notes = list(self.parts.notes) if self.epochs else []
        notes += notes_of(self.recipe, self.learner.rule, self.average, self.record.trained_on)
        offsets = self.search_offsets(log) if searches_offsets(self.recipe) else None
        if offsets and (note := self.parts.for_offsets[1]):
            notes.append(note)
        log.end(notes)
        return Outcome(
            best=self.out / "best.pt",
            epoch=self.state.best_epoch if self.epochs else None,
            offsets=offsets,
            note=". ".join(notes) or None,
        )

    def recorded_outcome(self) -> Outcome | None:
        """The outcome of a run that is finished and chose offsets, from its files."""
        if self.state.epoch < self.epochs or not searches_offsets(self.recipe):
            return None
        images, rule = self.parts.for_offsets[0].n, rule_for_offsets(self.recipe)
        return recorded_outcome(self.out, position=self.state.log_bytes, images=images, rule=rule)

    def epoch(self, log: Log) -> None:
        """Run one epoch, or the rest of an interrupted one."""
        self.begin_epoch(log)
        for batch in self.remaining_batches():
            self.step(batch, log)
        self.end_epoch(log)

    def begin_epoch(self, log: Log) -> None:
        """Set the learning rate; at the epoch's first step also update the class rule."""
        state, learner = self.state, self.learner
        self.epoch_began = time.monotonic() - state.seconds
        learner.net.train()
        for group in learner.optimizer.param_groups:
            group["lr"] = self.recipe.lr.at(self.progress)
        if state.step > 0:
            return
        if state.epoch in self.fork_epochs:
            save_fork(self.out, state.epoch, self.full_state(log))
        metrics = self.evaluate(request) if (request := learner.rule.evaluation(state.epoch)) else None
        learner.rule.begin_epoch(EpochStats(epoch=state.epoch, epochs=self.recipe.epochs, metrics=metrics))

    def remaining_batches(self) -> Iterator[Batch]:
        """The rest of the epoch's batches."""
        state, rule = self.state, self.learner.rule
        if rule.sampling is not None:
            return self.batches.drawn(state.epoch, rule.sampling, start=state.step)
        return self.batches.epoch(state.epoch, start=state.step)

    def step(self, batch: Batch, log: Log) -> None:
        """Run one step; write a checkpoint at intervals, and when a signal stops the run."""
        state = self.state
        fraction = processes.world_size() * len(batch.labels) / self.batches.global_size(state.step)
        result = train_step(self.learner, batch, StepContext(state.epoch, self.progress, fraction, self.steps_done))
        if self.averages and self.recipe.average == "step":
            self.average.update()
        was_read = log.step(state.epoch, self.steps_done, result)
        state.step += 1
        stops, due = self.pauses.after_step(was_read=was_read)
        if stops or (due and state.step < len(self.batches)):
            self.read_steps(log)
            self.save(log)
        if stops:
            raise interrupts.Interrupted(self.state.saved)

    def end_epoch(self, log: Log) -> None:
        """Average the weights, evaluate them on the held-out part, write the log and a checkpoint."""
        state, rule = self.state, self.learner.rule
        if self.averages and isinstance(self.average, GatedAverage):
            self.average.update_if_fair(1 - float(self.evaluate(GATE).robust_error.max()))
        elif self.averages and self.recipe.average == "epoch":
            self.average.update()
        self.read_steps(log)
        seconds = round(time.monotonic() - self.epoch_began, 3)
        entry: dict[str, Any] = {"lr": self.recipe.lr.at(self.progress), "seconds": seconds}
        for name, factors in rule.epoch_factors().items():
            if bool((factors != 1).any()):
                entry[name] = [round(factor, 5) for factor in factors.tolist()]
        with self.average.applied():
            entry["select"] = self.choose()
        log.epoch(state.epoch, entry)
        state.epoch, state.step = state.epoch + 1, 0
        self.epoch_began = time.monotonic()
        self.save(log)
        if self.pauses.after_epoch():
            raise interrupts.Interrupted(self.state.saved)

    def evaluate(self, request: EvaluationRequest, split: Split | None = None) -> ClassMetrics:
        """Class-wise metrics of the current weights, on `split` or else on the part of the request."""
        if split is None:
            split = self.parts.steer if request.part == "steer" else self.parts.full.take(self.parts.train)
        return evaluate(
            self.learner.net,
            split,
            request,
            num_classes=len(self.record.classes),
            threat=self.recipe.threat,
            seed=self.record.seed,
            numerics=self.learner.numerics,
        )

    def choose(self) -> dict[str, Any] | None:
        """Score the current weights on the held-out part; save them as best.pt if the score is the best so far, or if
        there is no such part."""
        score, accuracies = float("inf"), None
        if self.recipe.select != "last" and self.parts.select.n > 0:
            request = selection_request(self.recipe.select_attack)
            accuracy = HeldOutAccuracy.of(self.evaluate(request, self.parts.select))
            score, accuracies = RULES[self.recipe.select](accuracy), asdict(accuracy)
        names = [folder.epoch_file(self.state.epoch)] if self.store else []
        if score > self.state.best_score or score == float("inf"):
            self.state.best_score, self.state.best_epoch = score, self.state.epoch
            names.append("best.pt")
        for name in names if processes.is_main() else ():
            checkpoint.save(self.out / name, self.network())
        return accuracies

    @interrupts.reporting(lambda _: "the network is saved, and the search for its offsets is restarted")
    def search_offsets(self, log: Log) -> OffsetSearch:
        """Choose offsets for the network of best.pt, or for the initial one if nothing is trained, and write best.pt
        with them. An interrupted search is restarted; for a finished run see `recorded_outcome`."""
        if self.epochs:
            processes.barrier()
            network = checkpoint.load(self.out / "best.pt")
        else:
            self.save(log)  # marks the folder as this run's
            network = self.network() | {"epoch": None}
        network, found = with_best_offsets(
            network,
            self.learner.net,
            self.parts,
            self.recipe,
            seed=self.record.seed,
            numerics=self.learner.numerics,
            on_evaluation=log.evaluated,
        )
        if processes.is_main():
            checkpoint.save(self.out / "best.pt", network)
        processes.barrier()
        return found

    def resume(self, fork: Path | None) -> None:
        """Continue from last.pt, or from previous.pt if that is damaged; a new run may start from a fork."""
        if (saved := self.latest.load()) is not None:
            self.state = restore(saved["training"], self.learner, self.average)
        elif fork is not None:
            training = start_from(fork, self.out, self.record, self.counts)
            # Rule and average have no state before the fork: those of this run are used.
            initial = {"rule": self.learner.rule.state_dict(), "average": self.average.state_dict()}
            self.state = restore(training | initial, self.learner, self.average)

    def read_steps(self, log: Log) -> None:
        """Log the steps that are still on the device; raise InputError if the weights have become NaN or infinite."""
        log.flush()
        count = max(2, self.recipe.batch_size // processes.world_size())
        check_logits(self.learner, self.parts.full.images.fetch(self.parts.train[:count]), self.state.epoch)

    def save(self, log: Log) -> None:
        """Write last.pt, after `read_steps`; the previous one becomes previous.pt."""
        state = self.full_state(log)
        if processes.is_main():
            self.latest.save(state)
        self.pauses.saved_at = time.monotonic()

    def network(self) -> dict[str, Any]:
        """The contents of best.pt: the current weights, and all that is needed to use them."""
        return self.record.checkpoint(self.learner.net, self.state.epoch)

    def full_state(self, log: Log) -> dict[str, Any]:
        """The contents of last.pt: the network for use, and the state from which the run continues."""
        self.state.log_bytes, self.state.seconds = log.position, time.monotonic() - self.epoch_began
        self.state.logged = log.means.state_dict()
        generators = processes.gather_objects(generator_state(self.learner.numerics.device))
        with self.average.applied():
            network = self.network()
        return network | {"training": capture(self.state, self.learner, self.average, generators)}
