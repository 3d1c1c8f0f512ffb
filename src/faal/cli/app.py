"""`faal`: the commands, and what happens to errors. Exit status 0 done, 1 a check failed, 2 the input is wrong."""

import os
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
    os.environ["PYTHONSAFEPATH"] = "1"  # worker processes do not begin with the current folder first on their path
    errors = Console(stderr=True)
    status = 0
    try:
        result = app(print_error=True, exit_on_error=False)
        status = result if isinstance(result, int) else 0
    except InputError as error:
        status = _said(errors, str(error))
    except PermissionError as error:  # of any file or folder that a command comes upon
        if error.filename is None:
            raise
        status = _said(errors, f"{error.filename} may not be read or written; look at its permissions")
    except KeyboardInterrupt:
        errors.print("faal: stopped; the same command goes on where this one was", markup=False)
        status = 130
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, which need not have been imported
            _said(errors, "the device is full; take a smaller --batch-size, or another --device")
        elif not type(error).__module__.startswith("cyclopts"):  # which has said what is wrong
            raise
        status = 2
    finally:
        if "faal.engine.processes" in sys.modules:  # a command that computes; the help does not wait for torch
            sys.modules["faal.engine.processes"].stop()
    sys.exit(status)


def _said(errors: Console, sentence: str) -> int:
    """Say what is wrong with the input; the exit status for it."""
    errors.print(f"faal: {sentence}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    return 2
