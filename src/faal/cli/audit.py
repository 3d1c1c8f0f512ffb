"""`faal audit`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from faal.cli.notes import print_notes
from faal.cli.options import (
    Checkpoint,
    Data,
    Depth,
    Device,
    Groups,
    Model,
    Normalize,
    Out,
    Rgb,
    Seed,
    Size,
    Width,
    parse_size,
    refuse_overwriting,
    short_name,
)

WRITES = ("audit.json", "verdicts.npz", "examples.npz", "report.html")


def audit(
    checkpoint: Checkpoint,
    /,
    *,
    data: Data,
    attacks: Annotated[
        str,
        Parameter(help="Separated by commas: clean, pgd20, cw20 (any number of steps; x5: five restarts), autoattack."),
    ] = "clean,pgd20,cw20",
    epsilon: Annotated[
        str | None,
        Parameter(
            help="Radius of the ball, such as 8/255; that of the network's training if unset. Several radii, "
            "separated by commas: a curve of accuracies."
        ),
    ] = None,
    norm: Annotated[
        str | None, Parameter(help="The norm of the ball, linf or l2; that of the network's training if unset.")
    ] = None,
    groups: Groups = None,
    limit: Annotated[
        int | None, Parameter(help="Number of test images, drawn with the seed, stratified by class; all if unset.")
    ] = None,
    seed: Seed = 0,
    engine: Annotated[
        str,
        Parameter(
            help="The backend that attacks run on: reference (float32) or fast (a bfloat16 copy where that is faster)."
        ),
    ] = "fast",
    batch_size: Annotated[
        int | None, Parameter(help="Images per forward pass; if unset, up to 250, as memory permits.")
    ] = None,
    out: Out = None,
    device: Device = "auto",
    size: Size = None,
    rgb: Rgb = False,
    model: Model = None,
    width: Width = None,
    depth: Depth = None,
    normalize: Normalize = None,
) -> None:
    """Evaluate a classifier class by class, clean and under attack, with confidence intervals.

    Writes audit.json, verdicts.npz, examples.npz and report.html, and prints the table. The same command continues an
    audit that was stopped.

        faal audit runs/base --data cifar10:DIR --attacks clean,pgd20,cw20,autoattack
        faal audit model.pth --data folder:DIR --model mymodels:resnet --normalize cifar10
        faal audit runs/base --data cifar10:DIR --epsilon 2/255,4/255,8/255,16/255
    """
    from faal.audit import table
    from faal.audit.attacks.backend import engine_named
    from faal.audit.attacks.registry import attacks_named
    from faal.audit.run import run_audit
    from faal.audit.settings import AuditContext, AuditSettings
    from faal.config import Threat, parse_epsilon
    from faal.config.threat import norm_named
    from faal.data import load_data
    from faal.data.groups import read_groups_noted
    from faal.engine import numerics, processes
    from faal.engine.progress import progress_bar
    from faal.engine.writers.lock import folder_lock
    from faal.errors import InputError
    from faal.models import open_model
    from faal.report import write_report
    from faal.study.curve import curve, curve_table, radii

    norm, engine = None if norm is None else norm_named(norm), engine_named(engine)
    epsilons = () if epsilon is None else radii(map(parse_epsilon, epsilon.split(",")))
    torch_device = numerics.pick_device(device)
    processes.start(torch_device)
    dataset = load_data(data, size=parse_size(size), rgb=rgb)
    if dataset.test is None:
        raise InputError(f"{data} has no test images; an audit requires them")
    opened = open_model(checkpoint, dataset, model=model, width=width, depth=depth, normalize=normalize)
    if not epsilons and norm not in (None, opened.threat.norm):
        raise InputError(f"--norm {norm} requires --epsilon: the network was trained in {opened.threat.norm}")
    threat = Threat(norm or opened.threat.norm, epsilons[0] if epsilons else opened.threat.epsilon)
    groupings, group_notes = ((), ()) if groups is None else read_groups_noted(groups, dataset.test)
    notes = [*dataset.notes, *group_notes, *opened.notes]
    if not epsilons and not opened.trained:
        notes.append(f"The checkpoint does not record the threat of its training; {threat} is assumed.")
    print_notes(*notes)
    folder = out or (
        checkpoint
        if (checkpoint / "best.pt").exists()
        else Path("runs") / f"audit-{short_name(checkpoint).replace(':', '-')}-{opened.record['sha256'][:8]}"
    )
    refuse_overwriting(folder, WRITES, data=data, inputs=(checkpoint, groups))
    subject = (opened.net.to(torch_device), dataset.test.images, dataset.test.labels)
    with folder_lock(folder):
        with progress_bar() as bar:
            task = bar.add_task("audit", total=None, note="")
            settings = AuditSettings(
                attacks=attacks_named(attacks),
                threat=threat,
                seed=seed,
                batch_size=batch_size,
                limit=limit,
                engine=engine,
            )
            context = AuditContext(
                classes=dataset.classes,
                groups=groupings,
                out=folder,
                model_record={"name": short_name(checkpoint), **opened.record},
                data_record={"name": dataset.name, "split": "test", "image_size": dataset.test.images.shape[1:]},
                notes=notes,
                trained=opened.trained,
                train_images=None if dataset.train is None else dataset.train.images,
                progress=lambda attack, done, total: bar.update(task, total=total, completed=done, note=attack),
            )
            output_table = (
                curve_table(curve(*subject, settings, context, epsilons=epsilons))
                if len(epsilons) > 1
                else table(run_audit(*subject, settings, context))
            )
        if processes.is_main():
            console = Console()
            console.print(output_table)
            console.print(f"Report: {write_report([folder])}", markup=False, highlight=False, soft_wrap=True)
