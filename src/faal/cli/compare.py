"""`faal compare`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console


def compare(
    before: Annotated[str, Parameter(help="NAME=DIR[,DIR...]: one audited folder per seed.")],
    after: Annotated[str, Parameter(help="NAME=DIR[,DIR...]: the same seeds in the same order.")],
    /,
) -> None:
    """Compare two networks, or two methods over several seeds: paired by sample, or by seed.

    faal compare base=runs/base repaired=runs/repaired
    faal compare at=runs/at-1,runs/at-2,runs/at-3 faal=runs/faal-1,runs/faal-2,runs/faal-3

    One run per side compares two models: a paired bootstrap for the averages,
    intervals for the differences of the worst classes (the same class or not), of
    the gaps and, with 20 classes or more, of the mean of the worst tenth of classes, and McNemar's exact
    test per class, corrected for all classes. Several runs per side compare the
    methods: Student's t intervals over the seeds. Groups (`faal audit --groups`) are
    compared in the same way. The output ends with the conclusion.
    """
    from faal.audit import compare as run
    from faal.audit import comparison_table

    result = run(*_named(before), *_named(after))
    Console().print(comparison_table(result))


def _named(text: str) -> tuple[str, list[Path]]:
    """Parse NAME=DIR[,DIR...] to the name and its folders."""
    from faal.errors import InputError

    name, equals, folders = text.partition("=")
    paths = [Path(part) for part in folders.split(",") if part]
    if not equals or not name or not paths:
        raise InputError(f"faal compare takes NAME=DIR[,DIR...] twice, such as base=runs/base, not {text!r}")
    return name, paths
