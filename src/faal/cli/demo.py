"""`faal demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from faal.cli.options import Device


def demo(
    *,
    out: Annotated[Path, Parameter(help="The output folder.")] = Path("demo"),
    seeds: Annotated[int, Parameter(help="Number of training seeds.")] = 3,
    device: Device = "cpu",
) -> None:
    """Train a robust classifier of digits, audit it, repair its worst class, and write the report, in minutes on a CPU.

    faal demo --out demo
    """
    from faal.engine.numerics import pick_device
    from faal.errors import InputError
    from faal.report import write_report
    from faal.study.demo import demo as run
    from faal.study.demo import demo_table

    if seeds < 1:
        raise InputError(f"--seeds is the number of training seeds, at least 1, not {seeds}")
    record = run(out, seeds=range(1, seeds + 1), device=pick_device(device))
    page = write_report([out])
    console = Console()
    console.print(demo_table(record))
    console.print(f"Report: {page}", markup=False, highlight=False, soft_wrap=True)
