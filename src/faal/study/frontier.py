"""Blends of a base and its repair: networks with interpolated weights, evaluated on withheld images.

A repair raises the worst-class accuracy at the cost of the average; a blend is between base and repair and needs no
further training. Parameters and BatchNorm's running statistics are interpolated linearly; the latter approximate the
statistics of a blend's activations, whose computation would take a pass over the training images. Counters are the
repair's.

The test set is not used. Blends are evaluated on the training images that were withheld to choose the repair's epoch,
under the same attack with the same random starts: the accuracies of the repair are those in its log. A repair that uses
its last epoch (`select: last`), or whose epoch is chosen on test images (`select_on: test`), withholds images only
where `hold_out` is `both`; blends are then evaluated on those, and `frontier.json` records how the epoch was chosen.
Without withheld images there are no blends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor, nn

from faal import checkpoint
from faal.audit.estimates import estimates
from faal.audit.records.result import Accuracies
from faal.audit.statistics.intervals import METHOD
from faal.audit.terminal import estimate_text, plain_row, titled
from faal.bounds.plain import parse_json, read_yaml
from faal.config import Recipe, Threat
from faal.config.choices import Precision
from faal.data import DataSet, Split
from faal.data.splits import MIN_CLASS_SIZE, MIN_SMALL_CLASS_SIZE
from faal.engine import interrupts, processes
from faal.engine.numerics import Numerics
from faal.engine.progress import progress_bar
from faal.engine.writers.lock import folder_lock
from faal.errors import MISFIT, InputError
from faal.methods import searches_offsets, steers
from faal.models.native import architecture_and_threat, build_with_weights, checked_entries, replace_model
from faal.models.offsets import OFFSETS, with_offsets
from faal.repair.blends import blended
from faal.report.charts.bars import save_figure
from faal.report.charts.scatter import frontier as scatter
from faal.report.charts.scatter import on_frontier
from faal.train.evaluate import evaluate
from faal.train.folder import CONFIG
from faal.train.parts import parts_of
from faal.train.selection import selection_request

SCHEMA = "faal-frontier/1"
RECORD = "frontier.json"
LEVEL = 0.95

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The weight of the repair in each blend."""

MAYBE_TRAINED_ON = (
    "The base may have been trained on these images: all accuracies are too high, those of the base most."
)

OFFSETS_CHOSEN = (
    "The repair's offsets were chosen on these images: the accuracies of the repair and of the blends are too high."
)

BLENDED = "Parameters and BatchNorm's running statistics are interpolated linearly; counters are the repair's."


@dataclass(frozen=True, kw_only=True)
class Blend:
    """One point between base and repair."""

    share: float
    """The weight of the repair."""
    file: str | None
    """Its checkpoint in the repair's folder; None for the base, which is not copied."""
    accuracies: Accuracies

    @property
    def name(self) -> str:
        """`base`, `repair`, or the share as a fraction."""
        return {0.0: "base", 1.0: "repair"}.get(self.share, str(Fraction(self.share)))


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """All blends, in the order of their shares; `settings` is the rest of `frontier.json`."""

    settings: Mapping[str, Any]
    blends: tuple[Blend, ...]

    @property
    def best(self) -> list[bool]:
        """Per blend, whether it is Pareto-optimal in average and worst-class accuracy."""
        return [bool(on) for on in on_frontier(_points(self.blends))]

    def to_json(self) -> dict[str, Any]:
        """The content of `frontier.json`."""
        result = zip(self.blends, self.best, strict=True)
        blends = [{"share": b.share, "file": b.file, "on_frontier": on, **b.accuracies.to_json()} for b, on in result]
        return {**self.settings, "blends": blends}


def check_frontier(data: DataSet, recipe: Recipe, *, small: bool = False) -> None:
    """Raise InputError, before any training, where no images are withheld for the evaluation of blends."""
    _withheld(data, recipe, torch.device("cpu"), small)


def frontier(
    base: Mapping[str, Tensor],
    origin: Mapping[str, Any],
    data: DataSet,
    recipe: Recipe,
    *,
    out: Path,
    seed: int,
    device: torch.device,
    model: str | None = None,
    repaired: str = "best.pt",
    small: bool = False,
) -> Frontier:
    """Evaluate base, repair and the blends between them; continues where an earlier call stopped.

    Writes `blend-25.pt`, `blend-50.pt`, `blend-75.pt` in the format of best.pt, `frontier.json`, and the figure of
    average against worst class as SVG, PDF and PNG.

    Args:
        base: the base's state dict.
        origin: the base's record.
        data: as for the repair.
        recipe: the repair's.
        out: the repair's folder, finished.
        seed: the repair's.
        device: the device of the evaluation.
        model: the network, where it is `module:function`, which is imported only if it is named here.
        repaired: the file in `out` that has the fine-tuned network.
        small: whether images of classes with fewer than 200 are withheld.

    Raises:
        InputError: no images are withheld, the folder contains no finished repair of that network, or its files are
            damaged.
    """
    best = out / repaired
    state = checkpoint.load(best)
    architecture, _ = architecture_and_threat(state, best)
    architecture, _ = replace_model(architecture, model, best)
    net = build_with_weights(state, architecture, best, model=model).to(device)
    after: dict[str, Tensor] = state["weights"]
    with checked_entries(best):
        epoch, trained_on = state["epoch"], state["held_out"]["data"]
        maybe_trained_on = bool(state["held_out"].get("seen"))
    if architecture.offsets and OFFSETS not in base:  # chosen in the repair: a blend has them in proportion
        base = with_offsets(base, torch.zeros(architecture.num_classes))
    if {name: t.shape for name, t in base.items()} != {name: t.shape for name, t in after.items()}:
        raise InputError(f"{best} is not a repair of {origin.get('path')}: the two are different networks")
    split = _withheld(data, recipe, device, small)
    # The precision in which the repair was trained and its epoch chosen.
    numerics = Numerics.choose(_precision(out), device, net, split.images.fetch(torch.arange(2)).to(device))
    settings = {
        "schema": SCHEMA,
        "base": dict(origin),
        "repair": {"path": best.name, "sha256": checkpoint.digest(best), "epoch": epoch},
        "data": {"name": data.name, "part": "select", "n": split.n, "fingerprint": trained_on},
        "attack": recipe.select_attack,
        "threat": {"norm": recipe.norm, "epsilon": recipe.epsilon},
        "seed": seed,
        "precision": numerics.name,
        "level": LEVEL,
        "interval_method": METHOD,
        "seen": maybe_trained_on,
        "blended": f"{BLENDED} {_evaluated_on(recipe, maybe_trained_on=maybe_trained_on)}",
    }
    # All processes use the main process's list, so that all evaluate the same blends.
    finished: dict[float, Blend] = processes.gather_objects(_finished(out, settings))[0]
    blends: list[Blend] = []
    with (
        folder_lock(out),
        interrupts.reporting(lambda _: f"the repair and {len(blends)} of {len(SHARES)} blends are saved"),
        progress_bar() as bar,
    ):
        task = bar.add_task("frontier", total=len(SHARES), note="")
        for share in SHARES:
            if share in finished:
                blends.append(finished[share])
            else:
                weights = blended(base, after, share)
                file = best.name if share == 1 else None if share == 0 else f"blend-{round(100 * share)}.pt"
                if file not in (None, best.name) and processes.is_main():
                    blend = {**state, "weights": weights, "origin": {**origin, "share": 1 - share}}
                    checkpoint.save(out / str(file), blend)
                net.load_state_dict(weights)
                accuracies = _evaluate(numerics.place(net), split, data, recipe, seed=seed, numerics=numerics)
                blends.append(Blend(share=share, file=file, accuracies=accuracies))
                _write(out, Frontier(settings=settings, blends=tuple(blends)))
            bar.update(task, advance=1, note=blends[-1].name)
    result = Frontier(settings=settings, blends=tuple(blends))
    if processes.is_main():
        save_figure(scatter([blend.name for blend in blends], _points(blends)), out / "frontier")
    return result


def frontier_table(result: Frontier) -> Table:
    """The blends as a table for the terminal."""
    withheld, threat = result.settings["data"], result.settings["threat"]
    title = (
        f"Accuracy in % on withheld images with {LEVEL:.0%} intervals, n = {withheld['n']}, "
        f"{result.settings['attack']}, {Threat(**threat)}"
    )
    if notes := [note for note in (OFFSETS_CHOSEN, MAYBE_TRAINED_ON) if note in result.settings["blended"]]:
        title += f". {' '.join(notes)}"
    grid = titled(title, ["blend"], ["average", "worst class"], ["which", "frontier", "file"])
    for blend, on in zip(result.blends, result.best, strict=True):
        accuracies = blend.accuracies
        cells = [estimate_text(accuracies.average), estimate_text(accuracies.worst), accuracies.worst.name]
        plain_row(grid, blend.name, *cells, "yes" if on else "", blend.file or "")
    return grid


def _withheld(data: DataSet, recipe: Recipe, device: torch.device, small: bool) -> Split:
    """The training images that were withheld to choose the epoch, whether or not it was chosen on them."""
    if data.train is None:
        raise InputError(f"{data.name} has no training images; training needs some")
    parts = parts_of(data, recipe, steers=steers(recipe), device=device, small=small)
    if len(parts.select_index) == 0:
        why = f" ({'. '.join(parts.notes)})" if parts.notes else ""
        fewest = MIN_SMALL_CLASS_SIZE if small else MIN_CLASS_SIZE
        few = int(torch.bincount(parts.full.groups, minlength=len(data.groups)).min()) < fewest
        raise InputError(
            f"--frontier evaluates blends on withheld images, and none of {data.name} are withheld{why}; "
            + (f"use data with {fewest} images of each" if few else "set --hold-out to both")
            + ", or leave --frontier out"
        )
    return parts.full.take(parts.select_index).to(device)


def _evaluated_on(recipe: Recipe, *, maybe_trained_on: bool) -> str:
    """The sentence in the record on how the images were used in the repair and in the training of the base."""
    if recipe.select == "last":
        sentence = "Evaluated on withheld training images, not on the test set; the repair's epoch is its last."
    elif recipe.select_on == "test":
        sentence = "Evaluated on withheld training images; the repair's epoch was chosen on test images."
    else:
        sentence = "Evaluated on training images withheld for the choice of the epoch, not on the test set."
    notes = {OFFSETS_CHOSEN: searches_offsets(recipe), MAYBE_TRAINED_ON: maybe_trained_on}
    return " ".join([sentence, *(note for note, applies in notes.items() if applies)])


def _precision(out: Path) -> Precision:
    """The precision of a run, from its folder."""
    try:
        precision = read_yaml(out / CONFIG)["precision"]
    except (OSError, *MISFIT):
        precision = None
    if precision not in ("float32", "bf16"):
        raise InputError(
            f"{out / CONFIG} does not contain the precision of the repair: it is missing or damaged; "
            "repair into another folder with --out"
        )
    return "bf16" if precision == "bf16" else "float32"


def _evaluate(
    net: nn.Module, split: Split, data: DataSet, recipe: Recipe, *, seed: int, numerics: Numerics
) -> Accuracies:
    metrics = evaluate(
        net,
        split,
        selection_request(recipe.select_attack),
        num_classes=data.num_classes,
        threat=Threat(recipe.norm, recipe.epsilon),
        seed=seed,
        numerics=numerics,
    )
    n = metrics.counts.round().long().cpu().numpy()
    correct = np.rint(n * (1 - metrics.robust_error.double().cpu().numpy())).astype(np.int64)
    return estimates(n, correct, data.groups, level=LEVEL)


def _points(blends: tuple[Blend, ...] | list[Blend]) -> NDArray[np.float64]:
    """(R, 2) average and worst-class accuracy of R blends."""
    return np.array(
        [(blend.accuracies.average.value, blend.accuracies.worst.value) for blend in blends], dtype=np.float64
    )


def _finished(out: Path, settings: Mapping[str, Any]) -> dict[float, Blend]:
    """The blends that an earlier call evaluated, by their shares; none where repair or evaluation differ."""
    try:
        plain = parse_json((out / RECORD).read_text(encoding="utf-8"))
        if _compared({key: plain.get(key) for key in settings}) != _compared(settings):
            return {}
        known = [Blend(share=b["share"], file=b["file"], accuracies=Accuracies.from_json(b)) for b in plain["blends"]]
    except (OSError, *MISFIT):
        return {}
    return {blend.share: blend for blend in known if blend.file is None or _is_intact(out / blend.file)}


def _is_intact(path: Path) -> bool:
    try:
        checkpoint.load(path)
    except InputError:
        return False
    return True


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without the names of base and data, whose digest and fingerprint are compared, and without wording."""
    base, data = ({k: v for k, v in settings[part].items() if k not in ("path", "name")} for part in ("base", "data"))
    return {**settings, "base": base, "data": data, "blended": None}


def _write(out: Path, result: Frontier) -> None:
    if processes.is_main():
        text = json.dumps(result.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        checkpoint.write_atomically(out / RECORD, (text + "\n").encode())
