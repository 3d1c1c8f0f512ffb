"""`faal reproduce`."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from faal.cli.options import Device, Out


def reproduce(
    what: Annotated[
        str,
        Parameter(
            help="table1 to table4, figure1 to figure3, theorem1; methods (a table of all methods); or a row, as "
            "TABLE/ROW or only its name or method."
        ),
    ],
    /,
    *,
    data: Annotated[
        str | None,
        Parameter(help="cifar10:DIR or cifar100:DIR, the unpacked official download; not needed at scale tiny."),
    ] = None,
    scale: Annotated[
        str,
        Parameter(help="paper; small (CIFAR, networks of width 16, 6 epochs, for a CPU); tiny (digits, minutes)."),
    ] = "tiny",
    seeds: Annotated[int, Parameter(help="Number of training seeds.")] = 1,
    protocol: Annotated[
        str,
        Parameter(help="honest (the same protocol for all methods) or published (each method's published settings)."),
    ] = "honest",
    workers: Annotated[
        int | None,
        Parameter(help="Number of worker processes on this machine; one for each core, or each GPU, if unset."),
    ] = None,
    base: Annotated[
        list[str] | None,
        Parameter(
            help="NAME=FILE[:NORMALIZE]: a published checkpoint that replaces the base NAME, and the normalisation of "
            "its input, or NAME=zoo:NETWORK; may be repeated.",
            negative=(),
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        Parameter(
            help="NAME=MODEL, or MODEL alone with one --base: the network of that base, if it differs from the row's "
            "or is module:function (imported only if it is named here); may be repeated.",
            negative=(),
        ),
    ] = None,
    out: Out = None,
    device: Device = "auto",
) -> int:
    """Reproduce a table or a figure of the paper, every row under one protocol.

    The table is written row by row as Markdown, CSV, LaTeX and HTML, into reproduce/SCALE-PROTOCOL unless --out names
    another folder. The same command continues a reproduction that was stopped; machines that share the
    folder also share the runs.

        faal reproduce table2 --seeds 3
        faal reproduce table2 --scale small --data cifar10:DIR
        faal reproduce table2/faal-at --scale paper --data cifar10:DIR
        faal reproduce table1 --scale paper --data cifar10:DIR --base trades=model_cifar_wrn.pt:none
        faal reproduce table1/pgd-at--faal-at --scale small --data cifar10:DIR --base pgd-at=zoo:prn18w16-pgd-at
    """
    from faal.engine.numerics import pick_device
    from faal.study.reproduce.run import reproduce as run

    outcome = run(
        what,
        data=data,
        scale=scale,
        protocol=protocol,
        seeds=seeds,
        workers=workers,
        out=out,
        device=pick_device(device),
        bases=base or (),
        models=model or (),
    )
    for name, reason in outcome.failed.items():
        Console(stderr=True).print(f"{name} failed: {reason}", markup=False, highlight=False, soft_wrap=True)
    Console().print(f"Table: {outcome.page}", markup=False, highlight=False, soft_wrap=True)
    return 1 if outcome.failed else 0
