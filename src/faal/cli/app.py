"""`faal`: the commands, and what happens to errors. Exit status 0 done, 1 a check failed, 2 the input is wrong."""

import sys

from cyclopts import App
from rich.console import Console

from faal.cli import audit, compare, demo, export, listing, report, reproduce, train, zoo
from faal.errors import InputError

app = App(
    name="faal",
    help="Robust fairness in image classification: audit a classifier class by class, repair it, or train it fair.",
    help_format="plaintext",
    result_action="return_value",
)
for command in (
    demo.demo,
    train.train,
    train.repair,
    audit.audit,
    export.export,
    compare.compare,
    reproduce.reproduce,
    report.report,
    listing.methods,
    listing.recipes,
    zoo.zoo,
    zoo.publish,
):
    app.command(command)


def main() -> None:
    """Run the command line; never returns."""
    errors = Console(stderr=True)
    status = 0
    try:
        result = app(print_error=True, exit_on_error=False)
        status = result if isinstance(result, int) else 0
    except InputError as error:
        errors.print(f"faal: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        status = 2
    except KeyboardInterrupt:
        errors.print("faal: stopped; the same command goes on where this one was", markup=False)
        status = 130
    except Exception as error:
        if not type(error).__module__.startswith("cyclopts"):
            raise
        status = 2  # cyclopts has said what is wrong
    finally:
        if "faal.engine.processes" in sys.modules:  # a command that computes; the help does not wait for torch
            sys.modules["faal.engine.processes"].stop()
    sys.exit(status)
