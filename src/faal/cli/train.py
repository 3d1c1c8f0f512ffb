"""`faal train`."""

from collections.abc import Sequence
from math import ceil, log10
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from faal.cli.notes import print_notes
from faal.cli.options import (
    UNSET,
    Data,
    Device,
    Groups,
    Out,
    Overrides,
    Rgb,
    Seed,
    Size,
    attack_budget_notes,
    given,
    overridden,
    parse_size,
    refuse_overwriting,
    short_name,
)

if TYPE_CHECKING:  # the help does not import PyTorch
    from faal.config import Recipe
    from faal.data import DataSet
    from faal.models import Architecture
    from faal.train.outcome import OffsetSearch, Outcome
    from faal.train.selection import HeldOutAccuracy

NETWORK = ("model", "width", "depth", "normalize")
"""Settings that describe the network."""

RecipeName = Annotated[str, Parameter(help="A shipped recipe (`faal recipes`) or a YAML file.")]

Start = Annotated[
    Path | None,
    Parameter(name="--from", help="Begin with the weights of this checkpoint: a run's folder, a file or zoo:NAME."),
]


def train(
    recipe: RecipeName, /, *, data: Data, groups: Groups = None, out: Out = None, seed: Seed = 1,
    device: Device = "auto", size: Size = None, rgb: Rgb = False,
    start: Start = None, settings: Overrides = UNSET,
) -> None:  # fmt: skip
    """Train from scratch, or from given weights.

    --from begins with a trained network, for example a standard-trained one that is to be fine-tuned adversarially;
    the architecture is the checkpoint's, and for third-party weights --model, --width, --depth and --normalize
    describe it.
    Configuration, metrics and checkpoints are written to the run's folder. The same command continues a run that was
    stopped. Every setting of the recipe is an option.

        faal train cifar10-prn18-faal-trades --data cifar10:DIR
        faal train digits-small-pgd-at --data digits --epochs 20 --lr 0:0.1,1/2:0.01
        faal train cifar10-prn18-pgd-at --data folder:DIR --from model.pth --model mymodels:net --epochs 30 --lr 0.01
    """
    from faal.config import load_recipe
    from faal.data import load_data, weighted_by
    from faal.engine import numerics, processes
    from faal.models import Architecture, build_model, open_model
    from faal.models.own import require_named
    from faal.train.loop import train as run

    chosen, named = overridden(load_recipe(recipe), settings), given(settings).get("model")
    if start is None:
        require_named(chosen.model, named, f"the recipe {recipe}")
    torch_device = numerics.pick_device(device)
    processes.start(torch_device)
    dataset = load_data(data, size=parse_size(size), rgb=rgb)
    dataset = dataset if groups is None else weighted_by(dataset, groups)
    print_notes(*dataset.notes, *numerics.precision_notes(chosen.precision, torch_device), *attack_budget_notes(chosen))
    origin = None
    if start is None:
        architecture = Architecture.of(chosen, dataset)
        net = build_model(architecture, seed=seed, model=named)
    else:
        opened = open_model(start, dataset, **network_of(chosen, settings))
        print_notes(*opened.notes)
        net, architecture, origin = opened.net, opened.architecture, opened.record
        chosen = with_network(chosen, architecture)
    folder = out or Path("runs") / f"{short_name(recipe)}-seed{seed}"
    refuse_overwriting(folder, (), data=data, inputs=())
    outcome = run(net, architecture, dataset, chosen, out=folder, seed=seed, device=torch_device, origin=origin)
    print_outcome(outcome, dataset, data, size, rgb, architecture.model)


def network_of(recipe: "Recipe", settings: Any) -> dict[str, Any]:
    """The description of a network on the command line; the recipe's network settings describe a different one."""
    plain, named = recipe.plain(), given(settings)
    return {name: plain[name] for name in NETWORK if name in named}


def with_network(recipe: "Recipe", architecture: "Architecture") -> "Recipe":
    """The recipe with the network that is trained."""
    return recipe.replace({name: getattr(architecture, name) for name in NETWORK}, source="checkpoint")


def print_outcome(outcome: "Outcome", dataset: "DataSet", data: str, size: str | None, rgb: bool, model: str) -> None:
    """The end of a run: its notes, its offsets, the file of its network, and the command that audits it."""
    from faal.engine import processes
    from faal.models.own import is_own

    if not processes.is_main():
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if outcome.note:
        console.print(outcome.note)
    chosen = "" if outcome.epoch is None else f" of epoch {outcome.epoch}"
    if outcome.offsets:
        console.print(_offsets(outcome.offsets, dataset.classes, dataset.groups))
    console.print(f"{outcome.best} contains the network{chosen}{' with its offsets' if outcome.offsets else ''}")
    command = f"next: faal audit {quote(str(outcome.best.parent))} --data {quote(data)}"
    command += (f" --size {quote(size)}" if size else "") + (" --rgb" if rgb else "")
    command += f" --model {quote(model)}" if is_own(model) else ""
    console.print(command)


def _offsets(found: "OffsetSearch", classes: Sequence[str], groups: Sequence[str]) -> str:
    """Offsets by class, and the robust accuracy on the images that they were chosen on, as lines."""
    each = (f"{name} {offset:+.3f}" for name, offset in zip(classes, found.after.offsets, strict=True))
    digits = max(1, ceil(log10(found.images)) - 2)  # one image makes a difference
    unit = "class" if groups == classes else "group"
    score = {"sum": f"average plus worst {unit}", "average": "average", "worst": f"worst {unit}"}[found.rule]
    before, after = found.before.accuracy, found.after.accuracy

    def accuracies(accuracy: "HeldOutAccuracy") -> str:
        name = groups[accuracy.classes.index(accuracy.worst)]
        average, worst = (f"{100 * value:.{digits}f}" for value in (accuracy.average, accuracy.worst))
        return f"average {average}, worst {unit} {worst} ({name})"

    if found.after.offsets == found.before.offsets:
        change = f"no offsets that were tried raise {score} by one image or more: the logits are unchanged"
        results = accuracies(before)
    else:
        average, worst, gain = (
            f"{100 * value:+.{digits}f}"
            for value in (after.average - before.average, after.worst - before.worst, found.gain)
        )
        change = f"change on these images: average {average}, worst {unit} {worst} points"
        change += f"; {score}, by which they were chosen, {gain}" if found.rule == "sum" else f", chosen by {score}"
        results = f"{accuracies(before)} before; {accuracies(after)} after"
    return (
        f"offsets: {', '.join(each)}\n"
        f"robust accuracy in % on the {found.images} images that they were chosen on: {results}\n"
        f"{change}"
    )
