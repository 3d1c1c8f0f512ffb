"""The training loop: epochs of steps, a choice on held-out data, checkpoints from which a run goes on exactly."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faal import checkpoint
from faal.config import Recipe
from faal.data import Batch, Batches, DataSet, Split, fingerprint
from faal.engine import processes
from faal.engine.environment import environment
from faal.engine.numerics import Numerics
from faal.engine.seeds import derive_seed
from faal.intermediate.class_rule import EpochStats, EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics
from faal.methods import epochs_of_training, seeks_offsets, steers
from faal.models import Architecture
from faal.outer.averaging import GatedAverage, WeightAverage
from faal.step import StepContext, train_step
from faal.train import folder
from faal.train.checks import check_alike, check_data, check_groups, check_logits, check_method, check_net
from faal.train.evaluate import GATE, see
from faal.train.forks import begin_from, fork_file, keep_fork
from faal.train.learner import learner_for
from faal.train.log import Log
from faal.train.notes import notes_of
from faal.train.offsets import EVALUATIONS, Found, with_best_offsets
from faal.train.parts import Parts, parts_of
from faal.train.selection import RULES, HeldOutAccuracy, selection_request
from faal.train.state import TrainingState, capture, copied, generator_state, restore


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a finished run left its network."""

    best: Path
    """best.pt: the chosen epoch's weights (the last epoch's where nothing was held out)."""
    epoch: int | None
    """The epoch that was chosen, from 0; None where the method trains nothing."""
    offsets: Found | None
    """What the search for offsets came to, where there was one: best.pt has them."""
    note: str | None
    """What a reader of the results has to know about how the run went, in words."""


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
        origin: the checkpoint that a fine-tune starts from, for the record; its `withheld` tells which images it never
            saw (`models.provenance`).
        quiet: show no progress bar.
        keep: epochs at whose beginning the whole state is kept as fork-EPOCH.pt, for other runs to begin from.
        fork: such a file, of a run that this one does not differ from before that epoch: it begins there.

    Raises:
        InputError: the data does not fit the network, the folder holds another run, the fork is of a run that differs,
            training diverged, or the method trains nothing and there is no `origin`.
    """
    check_data(data, architecture)
    check_groups(data, recipe.method)
    check_method(recipe, trained=origin is not None)
    parts = parts_of(data, recipe, steers=steers(recipe), device=device, seed=seed)
    images = parts.whole.images.fetch(torch.arange(2)).to(device)
    check_net(net.to(device), images, data.num_classes)
    numerics = Numerics.choose(recipe.precision, device, net, images)
    check_alike(numerics)
    run = _Run(net, architecture, data, parts, recipe, out, seed, numerics, frozenset(keep), origin)
    grouped = {"groups": parts.whole.grouping.record()} if parts.whole.grouping else {}
    config = {
        "recipe": recipe.plain(),
        "architecture": asdict(architecture),
        "data": {"name": data.name, "fingerprint": run.fingerprint, "held_out": len(parts.select_index)} | grouped,
        "seed": seed,
        "precision": numerics.name,
        "origin": origin,
    }
    if processes.is_main():
        folder.describe(out, config, environment(device))
    processes.barrier()
    # For networks that draw random numbers themselves; a run that goes on, or a fork, restores its own.
    torch.manual_seed(derive_seed(seed, "network", processes.rank()))
    run.resume(fork)
    epochs = epochs_of_training(recipe)
    with Log(
        out,
        every=recipe.log_every,
        title=f"{recipe.method}, seed {seed}",
        steps=epochs * len(run.batches) + (EVALUATIONS if seeks_offsets(recipe) else 0),
        done=run.position.epoch * len(run.batches) + run.position.step,
        position=run.position.log_bytes,
        quiet=quiet,
    ) as log:
        while run.position.epoch < epochs:
            run.epoch(log)
        notes = [*(parts.notes if epochs else ()), *notes_of(recipe, run.learner.rule, run.average, run.seen)]
        found = None
        if seeks_offsets(recipe):
            found = run.seek_offsets(log)
            notes += [note for note in (parts.for_offsets[1],) if note]
        log.end(notes)
    return Outcome(
        best=out / "best.pt",
        epoch=run.position.best_epoch if epochs else None,
        offsets=found,
        note=". ".join(notes) or None,
    )


class _Run:
    """A run between two steps."""

    def __init__(
        self,
        net: nn.Module,
        architecture: Architecture,
        data: DataSet,
        parts: Parts,
        recipe: Recipe,
        out: Path,
        seed: int,
        numerics: Numerics,
        keep: frozenset[int],
        origin: Mapping[str, Any] | None,
    ) -> None:
        self.recipe, self.parts, self.out, self.seed, self.keep = recipe, parts, out, seed, keep
        self.fingerprint = fingerprint(parts.whole)
        own, self.origin = parts.digests(self.fingerprint), origin
        known = own.values() if origin is None else origin.get("withheld", ())
        self.withheld = [digest for digest in own.values() if digest in known]
        looked_at = ("select", "steer") if steers(recipe) else ("select",)
        self.seen = [part for part in looked_at if part in own and own[part] not in known]
        self.architecture, self.classes = architecture, data.classes
        self.counts = torch.bincount(parts.whole.groups[parts.train], minlength=len(data.groups))
        net = numerics.place(net)
        processes.broadcast(net.state_dict().values())
        self.batches = Batches(
            parts.whole,
            parts.train,
            batch_size=recipe.batch_size,
            seed=seed,
            crop=recipe.crop,
            flip=recipe.flip,
            device=numerics.device,
            memory=numerics.memory,
            rank=processes.rank(),
            world_size=processes.world_size(),
        )
        self.learner = learner_for(net, recipe, self.counts, seed=seed, numerics=numerics)
        # A run's first weights are to be forgotten soon; those that an average begins from later are not.
        warm_up = recipe.average == "step" and recipe.averaging_starts == 0
        decay = recipe.averaging_decay(len(self.batches))
        self.average = (
            GatedAverage(net, decay=decay, threshold=recipe.average_gate)
            if recipe.average == "gated"
            else WeightAverage(net, decay=decay, warm_up=warm_up)
        )
        self.position = TrainingState()
        self.saved_at = self.began = time.monotonic()

    def resume(self, fork: Path | None) -> None:
        """Go on from last.pt, or from previous.pt where that was cut off; a new run may begin from a fork."""
        state = checkpoint.load_latest(self.out)
        if state is not None:
            self.position = restore(state["training"], self.learner, self.average)
        elif fork is not None:
            training = begin_from(
                fork, self.out, recipe=self.recipe, seed=self.seed, data=self.fingerprint, counts=self.counts
            )
            # The rule and the average have not acted yet: theirs are new.
            own = {"rule": self.learner.rule.state_dict(), "average": self.average.state_dict()}
            self.position = restore(training | own, self.learner, self.average)

    def look(self, look: EvaluationRequest) -> ClassMetrics:
        """What a look at the present weights sees, on one of the run's parts."""
        part = self.parts.steer if look.part == "steer" else self.parts.whole.take(self.parts.train)
        return self.see(part, look)

    def see(self, split: Split, look: EvaluationRequest) -> ClassMetrics:
        """What a look at the present weights sees."""
        return see(
            self.learner.net,
            split,
            look,
            num_classes=len(self.classes),
            threat=self.recipe.threat,
            seed=self.seed,
            numerics=self.learner.numerics,
        )

    def epoch(self, log: Log) -> None:
        """The rest of the epoch that `position` stands in, then the choice."""
        recipe, learner, position = self.recipe, self.learner, self.position
        progress = position.epoch / recipe.epochs
        self.began = time.monotonic() - position.seconds
        averaging = recipe.average != "none" and progress >= recipe.averaging_starts - 1e-9
        learner.net.train()
        for group in learner.optimizer.param_groups:
            group["lr"] = recipe.lr.at(progress)
        if position.step == 0:
            if position.epoch in self.keep:
                self.keep_fork(log)
            wanted = learner.rule.look(position.epoch)
            sight = self.look(wanted) if wanted else None
            learner.rule.begin_epoch(EpochStats(epoch=position.epoch, epochs=recipe.epochs, sight=sight))
        for batch in self.coming():
            share = processes.world_size() * len(batch.labels) / self.batches.global_size(position.step)
            step = position.epoch * len(self.batches) + position.step
            result = train_step(learner, batch, StepContext(position.epoch, progress, share, step))
            if averaging and recipe.average == "step":
                self.average.update()
            read = log.step(position.epoch, step, result)
            position.step += 1
            if read and position.step < len(self.batches) and self.due():
                self.read(log)
                self.save(log)
        if averaging and isinstance(self.average, GatedAverage):
            self.average.judge(1 - float(self.look(GATE).robust_error.max()))
        elif averaging and recipe.average == "epoch":
            self.average.update()
        self.read(log)
        record: dict[str, Any] = {"lr": recipe.lr.at(progress), "seconds": round(time.monotonic() - self.began, 3)}
        for name, vector in learner.rule.moved().items():
            if bool((vector != 1).any()):
                record[name] = [round(factor, 5) for factor in vector.tolist()]
        with self.average.applied():
            record["select"] = self.choose()
        log.epoch(position.epoch, record)
        position.epoch, position.step = position.epoch + 1, 0
        self.began = time.monotonic()
        self.save(log)

    def coming(self) -> Iterator[Batch]:
        """The rest of the epoch's batches."""
        position, rule = self.position, self.learner.rule
        if rule.sampling is not None:
            return self.batches.drawn(position.epoch, rule.sampling, start=position.step)
        return self.batches.epoch(position.epoch, start=position.step)

    def choose(self) -> dict[str, Any] | None:
        """Judge the present weights on the held-out part and keep them if none before were better."""
        score, record = float("inf"), None
        if self.parts.select.n > 0:
            accuracy = HeldOutAccuracy.of(self.see(self.parts.select, selection_request(self.recipe.select_attack)))
            score, record = RULES[self.recipe.select](accuracy), asdict(accuracy)
        if score > self.position.best_score or score == float("inf"):
            self.position.best_score, self.position.best_epoch = score, self.position.epoch
            if processes.is_main():
                checkpoint.save(self.out / "best.pt", self.described())
        return record

    def seek_offsets(self, log: Log) -> Found:
        """Choose offsets for the kept network, or for the one that the run began with where nothing is trained, and
        write best.pt with them. Repeated it does the same again."""
        if epochs_of_training(self.recipe):
            processes.barrier()
            state = checkpoint.load(self.out / "best.pt")
        else:
            self.save(log)  # the folder is this run's from now on
            state = self.described() | {"epoch": None}
        learner, recipe = self.learner, self.recipe
        state, found = with_best_offsets(
            state, learner.net, self.parts, recipe, seed=self.seed, numerics=learner.numerics, tell=log.evaluated
        )
        if processes.is_main():
            checkpoint.save(self.out / "best.pt", state)
        processes.barrier()
        return found

    def described(self) -> dict[str, Any]:
        """The network as it is to be used, with what it takes to use it."""
        return {
            "architecture": asdict(self.architecture),
            "classes": list(self.classes),
            "image_size": list(self.parts.whole.images.shape[1:]),
            "weights": copied(self.learner.net),
            "recipe": self.recipe.plain(),
            "seed": self.seed,
            "epoch": self.position.epoch,
            "held_out": {
                "data": self.fingerprint,
                "select": self.parts.select_index,
                "withheld": self.withheld,
                "seen": "select" in self.seen,
            },
            "origin": None if self.origin is None else dict(self.origin),
        }

    def due(self) -> bool:
        """Whether it is time for a checkpoint: by the main process's clock, so that all processes agree."""
        late = processes.is_main() and time.monotonic() - self.saved_at > self.recipe.checkpoint_every
        (told,) = processes.all_sum(torch.tensor([float(late)], device=self.learner.numerics.device))
        return bool(told > 0)

    def save(self, log: Log) -> None:
        """Write last.pt, of steps that were read; the one before it becomes previous.pt."""
        state = self.whole(log)
        if processes.is_main():
            checkpoint.rotate(self.out)
            checkpoint.save(self.out / "last.pt", state)
        self.saved_at = time.monotonic()

    def read(self, log: Log) -> None:
        """Read the steps that are not logged; refuse to go on from weights that the last of them has ruined."""
        log.flush()
        few = max(2, self.recipe.batch_size // processes.world_size())
        images = self.parts.whole.images.fetch(self.parts.train[:few])
        check_logits(self.learner, images, self.position.epoch)

    def keep_fork(self, log: Log) -> None:
        """Write fork-EPOCH.pt."""
        state = self.whole(log)
        if processes.is_main() and not fork_file(self.out, self.position.epoch).exists():
            keep_fork(self.out, self.position.epoch, state)

    def whole(self, log: Log) -> dict[str, Any]:
        """All that there is to know: the network as it is to be used, and what a run needs to go on from here."""
        self.position.log_bytes, self.position.seconds = log.position, time.monotonic() - self.began
        generators = processes.gather_objects(generator_state(self.learner.numerics.device))
        with self.average.applied():
            described = self.described()
        return described | {"training": capture(self.position, self.learner, self.average, generators)}
