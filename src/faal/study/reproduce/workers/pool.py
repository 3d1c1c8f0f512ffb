"""Worker processes, on this and other machines, that execute the items of one plan."""

import dataclasses
import json
import multiprocessing
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from faal.checkpoint import write_atomically
from faal.engine import interrupts
from faal.engine.parent import end_with_parent
from faal.engine.processors import usable_processors
from faal.engine.writers.claims import Lock, acquire, remove_locks
from faal.errors import MISFIT, InputError
from faal.study.reproduce.plan import WorkItem, failure_path
from faal.study.reproduce.workers.job import WorkContext, execute

POLL = 1.0
"""Seconds between two checks of the folder."""


def default_workers(device: torch.device) -> int:
    """One process for each GPU, or for each processor that this process may use."""
    if device.type == "cuda":
        return torch.cuda.device_count()
    return usable_processors()


def run_all(context: WorkContext, items: Sequence[WorkItem], *, on_poll: Callable[[], None]) -> dict[str, str]:
    """Execute a plan until no item remains, on this or other machines.

    Args:
        context: settings shared by all items; with one worker, the items run in this process.
        items: the plan.
        on_poll: called after every item or check of the folder, to report progress.

    Returns:
        Name of each item that failed -> the reason.

    Raises:
        Interrupted: a signal was received; the items in progress were stopped by it.
    """
    for item in items:
        failure_path(context.out, item.name).unlink(missing_ok=True)
    with interrupts.reporting(lambda _: _progress(items)):
        if context.workers == 1:
            _enable_sigint()
            with _single_thread(context.device):
                run_items(context, items, on_poll=on_poll)
        else:
            _run_in_processes(context, items, on_poll)
    on_poll()
    for item in items:
        if item.output.exists():
            remove_locks(context.out / "claims", item.name)
    return failures(context, items)


def _progress(items: Sequence[WorkItem]) -> str:
    """What is saved when a signal interrupts the work."""
    done = sum(item.output.exists() for item in items)
    return f"{done} of {len(items)} steps are finished, and the progress of the others is saved"


def _run_in_processes(context: WorkContext, items: Sequence[WorkItem], on_poll: Callable[[], None]) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=_worker_process, args=(context, items, index), daemon=True)
        for index in range(context.workers)
    ]
    with interrupts.starting_workers():
        for process in processes:
            process.start()
    try:
        # Not `any`: `is_alive` must be called for all, since it joins a process that has ended.
        while [process for process in processes if process.is_alive()]:
            on_poll()
            time.sleep(POLL)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    unfinished = _remaining(context, items)
    if unfinished:
        status = ", ".join(str(process.exitcode) for process in processes)
        raise InputError(
            f"the workers were killed (status {status}) with {len(unfinished)} items unfinished, the first "
            f"{unfinished[0].name}; start the same command again, with fewer --workers if memory ran out"
        )


def _worker_process(context: WorkContext, items: Sequence[WorkItem], index: int) -> None:
    """The main function of one of several worker processes."""
    end_with_parent()
    interrupts.serve()
    try:
        if context.device.type == "cuda":
            context = dataclasses.replace(context, device=torch.device("cuda", index % torch.cuda.device_count()))
            torch.cuda.set_device(context.device)
        with interrupts.job(), _single_thread(context.device):
            run_items(context, items)
    except KeyboardInterrupt:
        sys.exit(interrupts.status())  # quietly: the parent process reports it


def _enable_sigint() -> None:
    """Raise KeyboardInterrupt at SIGINT, which a lost lock sends, where it is ignored, as in a shell's background."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _single_thread(device: torch.device) -> Iterator[None]:
    """On CPUs: one thread each, so that neither time nor results depend on the number of workers."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_items(context: WorkContext, items: Sequence[WorkItem], *, on_poll: Callable[[], None] = lambda: None) -> None:
    """Execute items until none remains, waiting where another process executes their dependencies."""
    while remaining := _remaining(context, items):
        for item in remaining:
            if is_ready(item) and (lock := acquire(context.out / "claims", item.name)) is not None:
                _run_item(item, lock, context)
                break
        else:
            time.sleep(POLL)
        on_poll()


def _run_item(item: WorkItem, lock: Lock, context: WorkContext) -> None:
    """Execute an item under its lock; an error is recorded in a file, and the work continues with the next item."""
    try:
        with lock:
            if item.output.exists():  # finished since the last check
                return
            try:
                execute(item, context)
            except Exception as error:
                reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                if not isinstance(error, InputError):
                    traceback.print_exc()
                write_atomically(failure_path(context.out, item.name), json.dumps({"reason": reason}).encode())
    except KeyboardInterrupt:
        if not lock.lost:  # else another process executes the item now
            raise


def is_ready(item: WorkItem) -> bool:
    """Whether a file that it depends on exists."""
    return not item.ready_when or any(path.exists() for path in item.ready_when)


def failures(context: WorkContext, items: Sequence[WorkItem]) -> dict[str, str]:
    """Name of each item that failed -> the reason."""
    found = {}
    for item in items:
        path = failure_path(context.out, item.name)
        if path.exists() and not item.output.exists():
            try:
                found[item.name] = str(json.loads(path.read_text(encoding="utf-8"))["reason"])
            except (OSError, *MISFIT):
                found[item.name] = f"the reason cannot be read: {path} is damaged"
    return found


def _remaining(context: WorkContext, items: Sequence[WorkItem]) -> list[WorkItem]:
    """The items that are neither finished nor blocked: failed, or waiting for one that failed."""
    named = {item.name: item for item in items}

    def blocked(item: WorkItem) -> bool:
        if failure_path(context.out, item.name).exists():
            return True
        return not is_ready(item) and item.waits_for is not None and blocked(named[item.waits_for])

    return [item for item in items if not item.output.exists() and not blocked(item)]
