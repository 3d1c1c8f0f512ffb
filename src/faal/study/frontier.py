"""Between a base and its repair: networks whose weights are blended from the two, judged on held-out images.

A repair trades average for worst class; a blend is a point in between, at no further training. Parameters are
interpolated linearly, and so are BatchNorm's running statistics: a blend's activations have others, somewhere near
these, and finding them would take a pass over the training images. Counters are the repair's.

The test set is not looked at. Blends are judged on the training images that were withheld for the choice of the
repair's epoch, under that choice's attack, with the same random starts: the figures of the repair itself are those in
its log. A repair whose last epoch counts (`select: last`), or whose epoch is chosen on test images (`select_on: test`),
withholds images only where `hold_out` is `both`; blends are judged on those then, and `frontier.json` says how the
epoch was chosen. Where nothing is withheld, there are no blends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor, nn

from faal import checkpoint
from faal.audit.estimates import estimates
from faal.audit.records.result import Figures
from faal.audit.statistics.intervals import METHOD
from faal.audit.terminal import estimate_text, plain_row, titled
from faal.config import Recipe, Threat
from faal.data import DataSet, Split
from faal.data.splits import SMALLEST_CLASS
from faal.engine import processes
from faal.engine.numerics import Numerics
from faal.engine.progress import progress_bar
from faal.errors import InputError
from faal.methods import steers
from faal.models.load import as_named, described, restored, understood
from faal.models.offsets import OFFSETS, with_offsets
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
"""Of the repair in the blend."""

SEEN = "The base may have been trained on these images: all figures are too good, the base's most of all."

BLENDED = "Parameters and BatchNorm's running statistics are interpolated linearly; counters are the repair's."


@dataclass(frozen=True, kw_only=True)
class Blend:
    """One point between base and repair."""

    share: float
    """Of the repair."""
    file: str | None
    """Its checkpoint in the repair's folder; None for the base, which lies where it lay."""
    figures: Figures

    @property
    def name(self) -> str:
        """As people write it."""
        return {0.0: "base", 1.0: "repair"}.get(self.share, str(Fraction(self.share)))


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """All of them, in the order of their shares; `made` is what `frontier.json` says besides."""

    made: Mapping[str, Any]
    blends: tuple[Blend, ...]

    @property
    def best(self) -> list[bool]:
        """Which of the blends no other is as good as in both average and worst class, and better in one."""
        return [bool(on) for on in on_frontier(_points(self.blends))]

    def to_json(self) -> dict[str, Any]:
        """The content of `frontier.json`."""
        found = zip(self.blends, self.best, strict=True)
        blends = [{"share": b.share, "file": b.file, "on_frontier": on, **b.figures.to_json()} for b, on in found]
        return {**self.made, "blends": blends}


def check_frontier(data: DataSet, recipe: Recipe) -> None:
    """That images will be withheld to judge blends on, said before anything is trained. Raises InputError."""
    _held_out(data, recipe, torch.device("cpu"))


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
) -> Frontier:
    """Judge base, repair and the blends between them; go on where an earlier call stopped.

    Writes `blend-25.pt`, `blend-50.pt`, `blend-75.pt` in the form of best.pt, `frontier.json`, and the figure of
    average against worst class as SVG, PDF and PNG.

    Args:
        base: the state dict that the repair started from.
        origin: what is recorded about it.
        data: as for the repair.
        recipe: the repair's.
        out: the repair's folder, finished.
        seed: the repair's.
        device: where to judge.
        model: the network, where it is `module:function`: the repair's folder alone makes us import none.

    Raises:
        InputError: nothing is withheld to judge on, or the folder holds no finished repair of that network, or files of
            one that are damaged.
    """
    best = out / "best.pt"
    state = checkpoint.load(best)
    architecture, _ = described(state, best)
    architecture, _ = as_named(architecture, model, best)
    net = restored(state, architecture, best, model=model).to(device)
    repaired: dict[str, Tensor] = state["weights"]
    with understood(best):
        epoch, trained_on, seen = state["epoch"], state["held_out"]["data"], bool(state["held_out"].get("seen"))
    if architecture.offsets and OFFSETS not in base:  # chosen in the repair: a blend has its share of them
        base = with_offsets(base, torch.zeros(architecture.num_classes))
    if {name: t.shape for name, t in base.items()} != {name: t.shape for name, t in repaired.items()}:
        raise InputError(f"{best} is not a repair of {origin.get('path')}: the two are different networks")
    split = _held_out(data, recipe, device)
    # As the repair was trained and its epoch chosen.
    numerics = Numerics.choose(_precision(out), device, net, split.images.fetch(torch.arange(2)).to(device))
    made = {
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
        "seen": seen,
        "blended": f"{BLENDED} {_judged_on(recipe, seen=seen)}",
    }
    # One answer for all: they judge a blend together, or none does.
    kept: dict[float, Blend] = processes.gather_objects(_kept(out, made))[0]
    blends: list[Blend] = []
    with progress_bar() as bar:
        task = bar.add_task("frontier", total=len(SHARES), note="")
        for share in SHARES:
            if share in kept:
                blends.append(kept[share])
            else:
                weights = blended(base, repaired, share)
                file = best.name if share == 1 else None if share == 0 else f"blend-{round(100 * share)}.pt"
                if file not in (None, best.name) and processes.is_main():
                    blend = {**state, "weights": weights, "origin": {**origin, "share": 1 - share}}
                    checkpoint.save(out / str(file), blend)
                net.load_state_dict(weights)
                judged = _judged(numerics.place(net), split, data, recipe, seed=seed, numerics=numerics)
                blends.append(Blend(share=share, file=file, figures=judged))
                _write(out, Frontier(made=made, blends=tuple(blends)))
            bar.update(task, advance=1, note=blends[-1].name)
    found = Frontier(made=made, blends=tuple(blends))
    if processes.is_main():
        save_figure(scatter([blend.name for blend in blends], _points(blends)), out / "frontier")
    return found


def blended(base: Mapping[str, Tensor], repaired: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """(1 - share) base + share repaired for floating-point tensors; the repaired ones for all others."""
    return {
        name: torch.lerp(base[name].cpu(), after.cpu(), share) if after.is_floating_point() else after
        for name, after in repaired.items()
    }


def frontier_table(found: Frontier) -> Table:
    """The blends for the terminal."""
    held, threat = found.made["data"], found.made["threat"]
    title = (
        f"Held-out accuracy in % with {LEVEL:.0%} intervals, n = {held['n']}, {found.made['attack']}, "
        f"{Threat(**threat)}"
    )
    if found.made["seen"]:
        title += f". {SEEN}"
    grid = titled(title, ["blend"], ["average", "worst class"], ["which", "frontier", "file"])
    for blend, on in zip(found.blends, found.best, strict=True):
        figures = blend.figures
        cells = [estimate_text(figures.average), estimate_text(figures.worst), figures.worst.name]
        plain_row(grid, blend.name, *cells, "yes" if on else "", blend.file or "")
    return grid


def _held_out(data: DataSet, recipe: Recipe, device: torch.device) -> Split:
    """The training images that were withheld for the choice of the epoch, whatever it was then chosen on."""
    if data.train is None:
        raise InputError(f"{data.name} has no training images; training needs some")
    parts = parts_of(data, recipe, steers=steers(recipe), device=device)
    if len(parts.select_index) == 0:
        why = f" ({'. '.join(parts.notes)})" if parts.notes else ""
        few = int(torch.bincount(parts.full.groups, minlength=len(data.groups)).min()) < SMALLEST_CLASS
        raise InputError(
            f"--frontier judges blends on withheld images, and none of {data.name} are withheld{why}; "
            + (f"take data with {SMALLEST_CLASS} images of each" if few else "set --hold-out to both")
            + ", or leave --frontier out"
        )
    return parts.full.take(parts.select_index).to(device)


def _judged_on(recipe: Recipe, *, seen: bool) -> str:
    """For the record: which images these are to the repair, and to the base."""
    if recipe.select == "last":
        told = "Judged on withheld training images, not on the test set; the repair's epoch is its last."
    elif recipe.select_on == "test":
        told = "Judged on withheld training images; the repair's epoch was chosen on test images."
    else:
        told = "Judged on training images withheld for the choice of the epoch, not on the test set."
    return f"{told} {SEEN}" if seen else told


def _precision(out: Path) -> str:
    """What a run was trained in, as its folder says."""
    try:
        precision = yaml.safe_load((out / CONFIG).read_text(encoding="utf-8"))["precision"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        precision = None
    if precision not in ("float32", "bf16"):
        raise InputError(
            f"{out / CONFIG} does not say in which precision the repair was trained: it is missing or damaged; "
            "repair into another folder with --out"
        )
    return str(precision)


def _judged(net: nn.Module, split: Split, data: DataSet, recipe: Recipe, *, seed: int, numerics: Numerics) -> Figures:
    sight = evaluate(
        net,
        split,
        selection_request(recipe.select_attack),
        num_classes=data.num_classes,
        threat=Threat(recipe.norm, recipe.epsilon),
        seed=seed,
        numerics=numerics,
    )
    n = sight.counts.round().long().cpu().numpy()
    correct = np.rint(n * (1 - sight.robust_error.double().cpu().numpy())).astype(np.int64)
    return estimates(n, correct, data.groups, level=LEVEL)


def _points(blends: tuple[Blend, ...] | list[Blend]) -> NDArray[np.float64]:
    """(R, 2) averages and worst classes."""
    return np.array([(blend.figures.average.value, blend.figures.worst.value) for blend in blends], dtype=np.float64)


def _kept(out: Path, made: Mapping[str, Any]) -> dict[float, Blend]:
    """The blends that an earlier call judged, by their shares; none where it judged another repair or otherwise."""
    try:
        plain = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if _nameless({key: plain.get(key) for key in made}) != _nameless(made):
            return {}
        found = [Blend(share=b["share"], file=b["file"], figures=Figures.from_json(b)) for b in plain["blends"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {blend.share: blend for blend in found if blend.file is None or (out / blend.file).exists()}


def _nameless(made: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the base and the data are called: their digest and fingerprint are there too."""
    base, data = ({k: v for k, v in made[part].items() if k not in ("path", "name")} for part in ("base", "data"))
    return {**made, "base": base, "data": data}


def _write(out: Path, found: Frontier) -> None:
    if processes.is_main():
        text = json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        checkpoint.write_whole(out / RECORD, (text + "\n").encode())
