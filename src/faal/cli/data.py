"""`faal data`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table


def data(
    name: Annotated[
        str | None, Parameter(help="cifar10, cifar100, fashion-mnist or mnist; unset to list them.")
    ] = None,
    /,
    *,
    to: Annotated[
        Path | None,
        Parameter(
            help="The folder, as torchvision's root; if unset, a folder of the user's cache, which --data NAME reads."
        ),
    ] = None,
) -> None:
    """Download a data set from its official address, or list the data sets available.

    No other command downloads anything. Only https is used; size and SHA-256 of every file are known and
    checked. An interrupted download is resumed, automatically or by the same command, and the folder is created when
    the download is complete. Without an internet connection, put the files into the folder that the message names.

        faal data
        faal data cifar10
        faal data fashion-mnist --to data
    """
    from faal.data.official.fetch import fetch
    from faal.data.official.sources import SOURCES, TORCHVISION, cache_folder
    from faal.engine.progress import progress_bar
    from faal.errors import unknown

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if name is None:
        table = Table("data", "MB", "from", box=None, pad_edge=False)
        for each, source in SOURCES.items():
            table.add_row(each, f"{source.size / 1e6:.1f}", source.address)
        console.print(table)
        console.print(
            f"\n`faal data NAME` downloads one into {cache_folder('NAME')}; `--to DIR` selects another folder."
        )
        return
    if name not in SOURCES:
        raise unknown("official source of", name, SOURCES)
    source, root = SOURCES[name], cache_folder(name) if to is None else to
    errors = Console(stderr=True, highlight=False, markup=False)
    errors.print(
        f"{source.title}, {source.size / 1e6:.1f} MB from {source.address} into {root / source.folder}", soft_wrap=True
    )
    with progress_bar(errors) as bar:
        tasks = {file.name: bar.add_task(file.name, total=file.size, note="", visible=False) for file in source.files}
        fetched = fetch(
            source,
            root,
            progress=lambda file, received, size: bar.update(tasks[file], completed=received, visible=True),
            say=lambda sentence: bar.console.print(sentence, soft_wrap=True),
        )
    found = to is None or to.resolve() == TORCHVISION.resolve()
    console.print(
        f"{source.title} {'is' if fetched else 'was already'} in {root / source.folder}; "
        f"use it with --data {name if found else f'{name}:{to}'}"
    )
