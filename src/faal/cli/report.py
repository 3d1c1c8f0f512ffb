"""`faal report`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console


def report(
    *directories: Annotated[
        Path,
        Parameter(
            help="Folders with an audit.json; if several are given, the first is the base and the last the repaired "
            "network."
        ),
    ],
    out: Annotated[
        Path | None,
        Parameter(
            help="The output file; if unset, report.html in the folder, or comparison.html in the last folder if "
            "several are given."
        ),
    ] = None,
) -> None:
    """Write the report of one run, or the comparison of several, from their files.

    faal report runs/base runs/repaired --out before-and-after.html
    """
    from faal.audit.comparison.compare import comparison_of
    from faal.errors import InputError
    from faal.report import write_report

    if not directories:
        raise InputError("faal report requires at least one run's folder, such as `faal report runs/base`")
    page = write_report(directories, out=out, comparison=comparison_of(directories))
    Console().print(str(page), markup=False, highlight=False, soft_wrap=True)
