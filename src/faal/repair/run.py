"""The sequence of a repair: evaluate the base, decide, try settings, fine-tune, evaluate the candidates, choose."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from faal import checkpoint
from faal.checkpoint import write_atomically
from faal.config import Recipe
from faal.data import DataSet, Split, fingerprint
from faal.engine import interrupts, processes
from faal.engine.environment import environment
from faal.engine.progress import progress_bar
from faal.engine.writers.lock import folder_lock
from faal.errors import InputError
from faal.methods import method, searches_offsets, steers
from faal.models.load import LoadedModel
from faal.repair.candidates import SHARES, RepairCandidate
from faal.repair.choice import BASE, Selected, choose
from faal.repair.evaluator import Evaluator
from faal.repair.networks import Networks, StoredEpochs
from faal.repair.precheck import precheck
from faal.repair.record import FILE, RepairRecord, identity
from faal.repair.settings import RepairSettings
from faal.repair.trials import fitting_batch, tried
from faal.repair.verdicts import HeldOutVerdicts
from faal.train import folder
from faal.train.checks import check_data, check_groups, check_method, check_net
from faal.train.loop import train
from faal.train.outcome import Outcome
from faal.train.parts import Parts, parts_of
from faal.train.record import RunRecord

LARGE_CLASS = 400
"""From this number of images of each class on, the chosen network is evaluated on a second withheld part."""

BEST, COPY = "best.pt", "fine-tuned.pt"

TUNED = ("lr", "tau", "batch_size")
"""The settings that trials choose."""

TRAINED_ON = (
    "The choice was made on {} training images: the base may have been trained on the withheld ones, whose accuracies "
    "after a repair fall by more than those on new images"
)

UNCHOSEN = (
    "No image could be withheld: nothing shows whether this network is better than the base, or worse. A repair on few "
    "images may lower some classes by tens of points; give images to choose on with --validation"
)


@dataclass(frozen=True, kw_only=True)
class Repair:
    """The result of a repair."""

    outcome: Outcome
    """Its `best` is the file of the chosen network."""
    choice: Selected | None = None
    """None where the epochs were the only candidates."""
    base: HeldOutVerdicts | None = None
    """Of the base, on the images that the choice was made on."""
    chosen: HeldOutVerdicts | None = None
    """Of the chosen network, on the same images: its accuracies are too high, the more candidates there were."""
    second: tuple[HeldOutVerdicts, HeldOutVerdicts] | None = None
    """Base and chosen network on images that neither trained nor chose it, where there are such."""
    notes: tuple[str, ...] = ()
    """Caveats, in sentences."""

    @property
    def trained(self) -> Path:
        """The file of the fine-tuned network before the choice, where it was to be copied."""
        return self.outcome.best if self.choice is None else self.outcome.best.with_name(COPY)


def repair(
    loaded: LoadedModel,
    data: DataSet,
    recipe: Recipe,
    settings: RepairSettings,
    *,
    out: Path,
    seed: int,
    device: torch.device,
    validation: Split | None = None,
    copied: bool = False,
    quiet: bool = False,
) -> Repair:
    """Repair a network, or continue where an earlier call in the same folder stopped.

    The base is evaluated first, on withheld images under the attack of the recipe's selection: without robustness it is
    refused, and where its classes are alike it is left as it is. The fine-tune follows, and the candidates are
    evaluated on the same images: the base, each epoch, blends, and offsets on these. `choice.choose` selects one; where
    none is better, that is the base. best.pt has the selected network, repair.json all that was evaluated.

    Args:
        loaded: the base; the weights of its network change.
        data: its training part is used.
        recipe: the fine-tune's.
        settings: what is tried, and how the result is chosen.
        out: the folder.
        seed: of everything that is random.
        device: where to train.
        validation: images that the base was not trained on, to choose on instead of withheld ones.
        copied: whether the best epoch's network is copied to fine-tuned.pt.
        quiet: show no progress bar.

    Raises:
        InputError: as in `train.loop.train`; the network has no robustness; the folder holds another run or repair.
    """
    check_data(data, loaded.architecture)
    check_groups(data, recipe.method)
    check_method(recipe, trained=True)
    validation = None if validation is None else validation.to(device)
    small = not settings.plain and method(recipe.method).trains
    divide = partial(
        parts_of, data, steers=steers(recipe), device=device, seed=seed, small=small, validation=validation
    )
    if settings.tune:
        recipe = fitting_batch(recipe, len(divide(recipe).train))
    if not settings.plain and validation is None and _has_second_part(divide, data, recipe, loaded):
        recipe = replace(recipe, hold_out="both")
    parts = divide(recipe)
    check_net(loaded.net.to(device), parts.full.images.fetch(torch.arange(2)).to(device), data.num_classes, recipe)
    run = partial(train, device=device, seed=seed, quiet=quiet, origin=loaded.record)
    with folder_lock(out):
        chosen_otherwise = searches_offsets(recipe) or recipe.select_on == "test"
        if settings.plain or chosen_otherwise or parts.selection_split is None:
            outcome = run(loaded.net, loaded.architecture, data, recipe, out=out, parts=parts)
            unchosen = not (settings.plain or chosen_otherwise)
            return Repair(outcome=outcome, notes=(UNCHOSEN,) if unchosen else ())
        about = RunRecord.of(data, parts, recipe, loaded.architecture, seed=seed, origin=loaded.record)
        flattered = "select" in about.trained_on and validation is None
        images = parts.train_subset if flattered else parts.selection_split
        record = RepairRecord(out, identity(about, settings), images.groups.cpu().numpy(), data.groups)
        if record.new:
            _refuse_occupied(out)
        networks = Networks(loaded.net, data.num_classes)
        evaluator = Evaluator(networks, images, record, recipe, settings, seed=seed, device=device)
        if record.choice is None:
            base = evaluator.evaluate(RepairCandidate())
            try:
                decision = precheck(
                    base,
                    settings,
                    num_classes=data.num_classes,
                    threat=str(recipe.threat),
                    clean=lambda: evaluator.clean_accuracy(networks.load(networks.base, None)),
                )
            except InputError:
                record.remove()  # the same command with --force is another repair
                raise
            if decision.repair:
                _print(decision.reason, quiet)
                if settings.tune:
                    recipe = _tuned(evaluator, loaded, data, recipe, parts, divide=divide, run=run, out=out)
                    about = replace(about, recipe=recipe)
                net = networks.load(networks.base, None)
                trained = run(net, loaded.architecture, data, recipe, out=out, parts=parts, store_epochs=True)
                notes = [trained.note] if trained.note else []
                if copied and processes.is_main():
                    write_atomically(out / COPY, trained.best.read_bytes())
                _evaluate_candidates(evaluator, recipe.epochs, out, quiet=quiet)
                found = {name: verdicts for name, (_, verdicts) in record.evaluated.items()}
                choice = choose(found, settings, evaluator.rule)
            else:
                choice, notes = Selected(BASE, decision.reason), []
                processes.on_main(partial(folder.describe, out, about.config("float32"), environment(device)))
            _write(out, networks, about, record.evaluated[choice.name][0])
            if flattered:
                notes = [*notes, TRAINED_ON.format(len(images.labels))]
            record.end(choice, notes, _second(evaluator, parts, recipe, out / BEST))
        _remove_epochs(out)
        return _result(out, record, parts)


def _has_second_part(divide: Callable[..., Parts], data: DataSet, recipe: Recipe, loaded: LoadedModel) -> bool:
    """Whether a second part is withheld: each class is large, no method evaluates on it during training, and the base
    was trained on neither part: on images of its training its accuracy is too high."""
    if recipe.hold_out != "select" or steers(recipe):
        return False
    parts = divide(replace(recipe, hold_out="both"))
    if int(torch.bincount(parts.full.groups, minlength=len(data.groups)).min()) < LARGE_CLASS:
        return False
    unused = loaded.record.get("withheld", ())
    return all(digest in unused for digest in parts.digests(fingerprint(parts.full)).values())


def _refuse_occupied(out: Path) -> None:
    """Raise InputError where a folder without repair.json holds a run."""
    found = [name for name in (folder.CONFIG, *folder.FILES) if os.path.lexists(out / name)]
    if found:
        raise InputError(
            f"{out} contains a {found[0]} that this repair would overwrite (one that began with --plain continues with "
            "--plain); choose another folder with --out, or move it"
        )


def _tuned(
    evaluator: Evaluator,
    loaded: LoadedModel,
    data: DataSet,
    recipe: Recipe,
    parts: Parts,
    *,
    divide: Callable[..., Parts],
    run: Callable[..., Outcome],
    out: Path,
) -> Recipe:
    """The recipe with the settings of the best trial; those of an earlier call where the record has them."""
    networks, record = evaluator.networks, evaluator.record

    def trial(changed: Recipe, into: Path) -> HeldOutVerdicts:
        """The verdicts of a short fine-tune of the base."""
        net = networks.load(networks.base, None)
        outcome = run(net, loaded.architecture, data, changed, out=into, parts=divide(changed))
        processes.barrier()
        return evaluator.verdicts(networks.load(checkpoint.load(outcome.best)["weights"], None))

    if record.tuned is None:
        base = record.evaluated[BASE][1]
        chosen, trials = tried(recipe, len(parts.train), base, evaluator.settings, evaluator.rule, out, trial)
        plain = chosen.plain()
        record.update(tuned={name: plain[name] for name in TUNED}, trials=trials)
    return recipe.replace(record.tuned or {}, source=FILE)


def _evaluate_candidates(evaluator: Evaluator, count: int, out: Path, *, quiet: bool) -> None:
    """Evaluate all candidates that the record does not have: `count` epochs, blends of the best with the base, and
    offsets on the base, on the best epoch and on the best blend."""
    processes.barrier()
    record = evaluator.record
    epochs = StoredEpochs(out, count)
    with interrupts.reporting(lambda _: f"{len(record.evaluated)} candidates are kept"), progress_bar() as bar:
        bar.disable = quiet or not processes.is_main()
        total = count + len(SHARES) + 3
        task = bar.add_task("candidates", total=total, note="")

        def evaluate(candidate: RepairCandidate) -> RepairCandidate:
            evaluator.evaluate(candidate, epochs)
            bar.update(task, advance=0 if candidate.offsets else 1, note=candidate.name)
            return candidate

        best = max([evaluate(RepairCandidate(number)) for number in epochs], key=evaluator.score)
        blends = [evaluate(replace(best, share=share)) for share in SHARES]
        trained = max([best, *blends], key=evaluator.score)
        for candidate in dict.fromkeys((RepairCandidate(), best, trained)):
            for each in evaluator.with_offsets(candidate, epochs):
                evaluate(each)
            bar.update(task, advance=1)
        bar.update(task, completed=total, note="")


def _write(out: Path, networks: Networks, about: RunRecord, candidate: RepairCandidate) -> None:
    """Write best.pt with a candidate's network."""
    weights = networks.weights(candidate, StoredEpochs(out, about.recipe.epochs))
    stored = networks.stored(weights, candidate.offsets)
    state = about.checkpoint(networks.net, 0) | {"weights": stored, "epoch": candidate.epoch}
    if candidate.offsets is not None:
        state["architecture"] = {**state["architecture"], "offsets": True}
    state["repair"] = {"name": candidate.name, "share": candidate.share}
    if processes.is_main():
        checkpoint.save(out / BEST, state)
    processes.barrier()


def _second(
    evaluator: Evaluator, parts: Parts, recipe: Recipe, best: Path
) -> tuple[HeldOutVerdicts, HeldOutVerdicts] | None:
    """The verdicts of base and chosen network on the second withheld part, where there is one."""
    if recipe.hold_out != "both" or steers(recipe) or len(parts.steer_index) == 0:
        return None
    networks = evaluator.networks
    before = evaluator.verdicts(networks.load(networks.base, None), parts.steer)
    return before, evaluator.verdicts(networks.load_stored(checkpoint.load(best)["weights"]), parts.steer)


def _remove_epochs(out: Path) -> None:
    for path in out.glob("epoch-*.pt") if processes.is_main() else ():
        with suppress(OSError):
            path.unlink()
    processes.barrier()


def _result(out: Path, record: RepairRecord, parts: Parts) -> Repair:
    """The result of a repair whose record is complete."""
    assert record.choice is not None
    candidate, chosen = record.evaluated[record.choice.name]
    return Repair(
        outcome=Outcome(best=out / BEST, epoch=candidate.epoch, offsets=None, note=". ".join(record.notes) or None),
        choice=record.choice,
        base=record.evaluated[BASE][1],
        chosen=chosen,
        second=record.second(parts.steer.groups.cpu().numpy()),
    )


def _print(sentence: str, quiet: bool) -> None:
    if not quiet and processes.is_main():
        Console(markup=False, highlight=False, soft_wrap=True).print(f"{sentence}.")
