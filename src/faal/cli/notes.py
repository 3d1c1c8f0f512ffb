"""The notes of a command, on standard error."""

from rich.console import Console


def print_notes(*notes: str) -> None:
    """Print notes on the input, a line each; of several processes the main one does."""
    from faal.engine import processes

    console = Console(stderr=True, markup=False, highlight=False)
    for note in notes if processes.is_main() else ():
        console.print(note)
