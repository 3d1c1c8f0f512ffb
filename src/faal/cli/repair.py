"""`faal repair`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from faal.cli.notes import print_notes
from faal.cli.options import (
    UNSET,
    Checkpoint,
    Data,
    Device,
    Groups,
    Out,
    Overrides,
    Rgb,
    Seed,
    Size,
    attack_budget_notes,
    overridden,
    parse_size,
    refuse_overwriting,
    short_name,
)
from faal.cli.train import network_of, print_outcome, with_network

THREAT = ("norm", "epsilon", "step_size")
"""Settings that a repair without a recipe takes from its network: the threat, and the step size for it."""


def repair(
    checkpoint: Checkpoint,
    recipe: Annotated[
        str | None,
        Parameter(
            help="A shipped recipe (`faal recipes`) or a YAML file; if unset, the one for the data and the network."
        ),
    ] = None,
    /,
    *,
    data: Data,
    groups: Groups = None,
    out: Out = None,
    seed: Seed = 1,
    device: Device = "auto",
    size: Size = None,
    rgb: Rgb = False,
    frontier: Annotated[
        bool,
        Parameter(
            help="Write blends of base and fine-tuned network, with their accuracies on the withheld images.",
            negative=(),
        ),
    ] = False,
    plain: Annotated[
        bool,
        Parameter(help="The paper's repair: choose among the epochs alone, and evaluate nothing before.", negative=()),
    ] = False,
    max_average_loss: Annotated[
        float | None,
        Parameter(
            help="Points of average robust accuracy that may be lost, on the withheld images; within them the best "
            "worst class is chosen. If unset, the highest average + worst class within 1.5 points."
        ),
    ] = None,
    tune: Annotated[
        bool | None,
        Parameter(
            help="Choose learning rate, tau and batch size by short trials; if unset, for third-party weights where no "
            "recipe is named."
        ),
    ] = None,
    validation: Annotated[
        str | None,
        Parameter(
            help="Images that the network was not trained on, to choose on instead of withheld training images; as "
            "after --data, of which the test images are used."
        ),
    ] = None,
    force: Annotated[
        bool,
        Parameter(help="Repair a network that has no robustness, or whose classes are alike.", negative=()),
    ] = False,
    settings: Overrides = UNSET,
) -> None:
    """Fine-tune a robust but unfair classifier to raise the robust accuracy of its worst class, in two epochs.

    The network is the checkpoint's; the recipe has the settings of the fine-tune. The network is first evaluated on
    withheld images. After the fine-tune, the same images select the network that is written: the original one, that of
    an epoch, a blend of both, each of these with or without offsets of the logits. For third-party weights, --model,
    --width, --depth and --normalize describe the network. A checkpoint whose network is module:function requires
    --model too.

        faal repair runs/base --data cifar10:DIR --out runs/repaired
        faal repair model.pth cifar10-wrn34-10-faal-at-awp-repair --data cifar10:DIR --model wrn34-10
        faal repair runs/base cifar10-prn18-faal-at-repair --data cifar10:DIR --out runs/repaired --frontier
        faal repair runs/base --data cifar10:DIR --method offsets
    """
    from faal.config import Recipe, load_recipe, repair_recipe
    from faal.data import load_data, validation_split, weighted_by
    from faal.engine import numerics, processes
    from faal.engine.writers.lock import folder_lock
    from faal.methods import method
    from faal.models import open_model
    from faal.repair import RepairSettings
    from faal.repair import repair as run
    from faal.repair.terminal import result_lines, result_table

    chosen = overridden(Recipe() if recipe is None else load_recipe(recipe), settings)
    torch_device = numerics.pick_device(device)
    processes.start(torch_device)
    dataset = load_data(data, size=parse_size(size), rgb=rgb)
    dataset = dataset if groups is None else weighted_by(dataset, groups)
    network = network_of(chosen, settings)
    opened = open_model(checkpoint, dataset, **network)
    print_notes(*dataset.notes, *opened.notes, *numerics.precision_notes(chosen.precision, torch_device))
    architecture = opened.architecture
    robust = opened.trained.get("method", "standard") != "standard"
    unnamed = recipe is None
    if recipe is None:
        # Without training, no setting of a FAAL recipe would apply: the method `offsets` has its own recipes.
        untrained = () if method(chosen.method).trains else (f"-{chosen.method}-repair",)
        recipe = repair_recipe(dataset.name, architecture.model, dataset.num_classes, *untrained)
        as_trained = {name: opened.trained[name] for name in THREAT if robust and name in opened.trained}
        chosen = overridden(load_recipe(recipe).replace(as_trained, source="checkpoint"), settings)
        print_notes(f"No recipe was named; the network is repaired by {recipe}, against {chosen.threat}.")
    elif robust and chosen.threat != opened.threat:
        print_notes(f"The network was trained against {opened.threat} and is repaired against {chosen.threat}.")
    print_notes(*attack_budget_notes(chosen))
    chosen = with_network(chosen, architecture)
    folder = out or Path("runs") / f"{short_name(recipe)}-seed{seed}"
    refuse_overwriting(folder, (), data=data, inputs=())
    if frontier:
        from faal.study.frontier import check_frontier

        check_frontier(dataset, chosen, small=not plain)
    options = RepairSettings(
        plain=plain,
        force=force,
        tune=unnamed and not opened.trained if tune is None else tune,
        max_average_loss=None if max_average_loss is None else max_average_loss / 100,
    )
    unseen = None if validation is None else validation_split(validation, dataset, size=parse_size(size), rgb=rgb)
    # Training changes the weights in place; blends need those of the base.
    base = {name: tensor.clone() for name, tensor in opened.net.state_dict().items()} if frontier else {}
    with folder_lock(folder):
        result = run(
            opened,
            dataset,
            chosen,
            options,
            out=folder,
            seed=seed,
            device=torch_device,
            validation=unseen,
            copied=frontier,
        )
        if processes.is_main() and result.choice is not None:
            Console().print(result_table(result))
            for line in result_lines(result):
                Console(markup=False, highlight=False, soft_wrap=True).print(line)
        print_outcome(result.outcome, dataset, data, size, rgb, architecture.model)
        print_notes(*result.notes)
        if frontier:
            from faal.study.frontier import frontier as evaluate_blends
            from faal.study.frontier import frontier_table

            found = evaluate_blends(
                base, opened.record, dataset, chosen, out=folder, seed=seed, device=torch_device,
                model=network.get("model"), repaired=result.trained.name, small=not plain,
            )  # fmt: skip
            if processes.is_main():
                Console().print(frontier_table(found))
