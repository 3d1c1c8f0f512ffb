"""`faal`: its commands and its handling of errors.

Exit status: 0 success, 1 a part failed, 2 invalid input, 130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

import os
import sys
from contextlib import suppress

from cyclopts import App
from rich.console import Console

from faal.cli import audit, compare, data, demo, export, listing, repair, report, reproduce, train, zoo
from faal.engine import interrupts
from faal.errors import InputError

app = App(
    name="faal",
    help="Robust fairness in image classification: audit a classifier class by class, repair it, or train a fair one.",
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # it would end the command without a message
)
for command in (
    demo.demo,
    train.train,
    repair.repair,
    audit.audit,
    export.export,
    compare.compare,
    reproduce.reproduce,
    report.report,
    data.data,
    listing.methods,
    listing.recipes,
    zoo.zoo,
    zoo.publish,
):
    app.command(command)


def main() -> None:
    """Run the command line; never returns."""
    os.environ["PYTHONSAFEPATH"] = "1"  # worker processes do not have the current folder first on their path
    errors = Console(stderr=True)
    with interrupts.handled():
        status = _run(errors)
    sys.exit(status)


def _run(errors: Console) -> int:
    """Run the command; returns its exit status."""
    try:
        result = app(print_error=True, exit_on_error=False)
        return result if isinstance(result, int) else 0
    except InputError as error:
        return _print_input_error(errors, error)
    except PermissionError as error:  # of any file or folder that a command opens
        if error.filename is None:
            raise
        return _report(errors, f"{error.filename} may not be read or written; check its permissions")
    except KeyboardInterrupt as stop:
        return _stopped(errors, str(stop))
    except Exception as error:
        if interrupts.requested():  # for example where another process of the group has ended first
            return _stopped(errors, "")
        if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, which need not have been imported
            return _report(errors, "the device is out of memory; use a smaller --batch-size, or another --device")
        if not type(error).__module__.startswith("cyclopts"):  # cyclopts has printed the error
            raise
        return 2
    finally:
        if "faal.engine.processes" in sys.modules:  # a command that computes; the help does not import torch
            sys.modules["faal.engine.processes"].stop()


def _stopped(errors: Console, saved: str) -> int:
    """Print what was saved of the work that a signal ended; returns the exit status."""
    if os.environ.get("RANK", "0") == "0":
        sentence = f"{saved}; the same command continues" if saved else "stopped"
        with suppress(OSError):  # a terminal that was closed
            errors.print(f"faal: {sentence}", markup=False, highlight=False, soft_wrap=True)
    return interrupts.status()


def _print_input_error(errors: Console, error: InputError) -> int:
    """Print an input error, once if all processes of a group raised it; returns the exit status.

    All processes wait until it is printed: the launcher ends the others as soon as one has failed.
    """
    if not error.shared:
        return _report(errors, str(error))
    processes = sys.modules["faal.engine.processes"]
    if processes.is_main():
        _report(errors, str(error))
    with suppress(RuntimeError):  # another process was ended
        processes.barrier()
    return 2


def _report(errors: Console, sentence: str) -> int:
    """Print what is wrong with the input; returns its exit status."""
    errors.print(f"faal: {sentence}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    return 2
