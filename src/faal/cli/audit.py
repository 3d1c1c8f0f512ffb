"""`faal audit`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from faal.cli.options import Data, Depth, Device, Model, Normalize, Out, Seed, Size, Width, parse_size


def audit(
    checkpoint: Annotated[Path, Parameter(help="A checkpoint, a run's folder, or foreign weights (with --model).")],
    /,
    *,
    data: Data,
    attacks: Annotated[
        str,
        Parameter(help="Commas between: clean, pgd20, cw20 (any number of steps; x5: five starts), autoattack."),
    ] = "clean,pgd20,cw20",
    epsilon: Annotated[
        str | None, Parameter(help="Radius of the ball, such as 8/255; what the network was trained at if unset.")
    ] = None,
    norm: Annotated[str, Parameter(help="The norm of the ball: linf or l2.")] = "linf",
    limit: Annotated[int | None, Parameter(help="Audit so many test images only, drawn with the seed.")] = None,
    seed: Seed = 0,
    engine: Annotated[str, Parameter(help="How attacks are computed: reference (float32 throughout).")] = "reference",
    batch_size: Annotated[int | None, Parameter(help="Images per forward; 250 if unset, fewer save memory.")] = None,
    out: Out = None,
    device: Device = "auto",
    size: Size = None,
    model: Model = None,
    width: Width = None,
    depth: Depth = None,
    normalize: Normalize = None,
) -> None:
    """Judge a classifier class by class, clean and under attack, with intervals.

    Writes audit.json, verdicts.npz, examples.npz and report.html, and prints the table. A killed audit goes on where
    it stopped.

        faal audit runs/base --data cifar10:DIR --attacks clean,pgd20,cw20,autoattack
        faal audit model.pth --data folder:DIR --model mymodels:resnet --normalize cifar10
    """
    from faal.audit import audit as run
    from faal.audit import table
    from faal.config import parse_epsilon
    from faal.data import load_data
    from faal.engine import numerics, processes
    from faal.engine.progress import progress_bar
    from faal.errors import InputError
    from faal.models import open_model
    from faal.report import write_report

    radius = None if epsilon is None else parse_epsilon(epsilon)
    where = numerics.pick_device(device)
    processes.start(where)
    dataset = load_data(data, size=parse_size(size))
    if dataset.test is None:
        raise InputError(f"{data} has no test images; an audit needs some")
    opened = open_model(checkpoint, dataset, model=model, width=width, depth=depth, normalize=normalize)
    errors = Console(stderr=True)
    for note in opened.notes if processes.is_main() else ():
        errors.print(note, markup=False, highlight=False)
    folder = out or (
        checkpoint if checkpoint.is_dir() else Path("runs") / f"audit-{checkpoint.stem}-{opened.record['sha256'][:8]}"
    )
    with progress_bar(errors) as bar:
        task = bar.add_task("audit", total=None, note="")
        result = run(
            opened.net.to(where),
            dataset.test.images,
            dataset.test.labels,
            classes=dataset.classes,
            attacks=attacks,
            epsilon=radius or opened.epsilon,
            norm=norm,
            limit=limit,
            seed=seed,
            engine=engine,
            batch_size=batch_size,
            out=folder,
            model_record={"name": checkpoint.stem, **opened.record},
            data_record={"name": dataset.name, "split": "test"},
            progress=lambda attack, done, total: bar.update(task, total=total, completed=done, note=attack),
        )
    if processes.is_main():
        console = Console()
        console.print(table(result))
        console.print(f"The page: {write_report([folder])}", markup=False, highlight=False, soft_wrap=True)
