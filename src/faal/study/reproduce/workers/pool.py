"""Workers: any number of processes, here and on other machines, that take up the items of one plan."""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from faal.checkpoint import write_whole
from faal.engine.processors import usable_processors
from faal.errors import InputError
from faal.study.reproduce.plan import Item, failure_path
from faal.study.reproduce.workers.job import Study, carry_out
from faal.study.reproduce.workers.locks import Claim, claim, forget

POLL = 1.0
"""Seconds between two looks at the folder."""


def default_workers(device: torch.device) -> int:
    """One process for each GPU, or for each processor that this process may use."""
    if device.type == "cuda":
        return torch.cuda.device_count()
    return usable_processors()


def work_together(study: Study, items: Sequence[Item], *, look: Callable[[], None]) -> dict[str, str]:
    """Work on a plan until nothing of it is left to do, here or elsewhere.

    Args:
        study: what the work has in common; with one worker it is this process.
        items: the plan.
        look: called again and again, to tell what has come.

    Returns:
        The items that failed, with the reason in words.
    """
    for item in items:
        failure_path(study.out, item.name).unlink(missing_ok=True)
    if study.workers == 1:
        _hear()
        with _one_thread(study.device):
            work_off(study, items, look=look)
    else:
        _side_by_side(study, items, look)
    look()
    for item in items:
        if item.makes.exists():
            forget(study.out / "claims", item.name)
    return failures(study, items)


def _side_by_side(study: Study, items: Sequence[Item], look: Callable[[], None]) -> None:
    context = multiprocessing.get_context("spawn")
    crew = [context.Process(target=_worker, args=(study, items, place), daemon=True) for place in range(study.workers)]
    for process in crew:
        process.start()
    try:
        while [process for process in crew if process.is_alive()]:  # each is asked: one that is over must not linger
            look()
            time.sleep(POLL)
    finally:
        for process in crew:
            process.terminate()
        for process in crew:
            process.join()
    left = _open(study, items)
    if left:
        status = ", ".join(str(process.exitcode) for process in crew)
        raise InputError(
            f"the workers were ended from outside (status {status}) and left {len(left)} items undone, the first "
            f"{left[0].name}; start the same command again, with fewer --workers if memory ran out"
        )


def _worker(study: Study, items: Sequence[Item], place: int) -> None:
    """One process of several."""
    _hear()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if study.device.type == "cuda":
            study = dataclasses.replace(study, device=torch.device("cuda", place % torch.cuda.device_count()))
            torch.cuda.set_device(study.device)
        with _one_thread(study.device):
            work_off(study, items)
    except KeyboardInterrupt:
        os._exit(130)  # quietly: the process that began this one says what there is to say


def _hear() -> None:
    """Let SIGINT, by which a claim tells that it is lost, be KeyboardInterrupt; a shell's background jobs ignore it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On CPUs: one thread each, so that neither time nor figures hang on how many work side by side."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def work_off(study: Study, items: Sequence[Item], *, look: Callable[[], None] = lambda: None) -> None:
    """Take up items until none is left that can be done, waiting where others hold what comes before."""
    while open_items := _open(study, items):
        for item in open_items:
            if is_ready(item) and (held := claim(study.out / "claims", item.name)) is not None:
                _do(item, held, study)
                break
        else:
            time.sleep(POLL)
        look()


def _do(item: Item, held: Claim, study: Study) -> None:
    """Do an item under its claim; what goes wrong is told in a file, and the work goes on with the next one."""
    try:
        with held:
            if item.makes.exists():  # since the last look
                return
            try:
                carry_out(item, study)
            except Exception as error:
                told = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                if not isinstance(error, InputError):
                    traceback.print_exc()
                write_whole(failure_path(study.out, item.name), json.dumps({"reason": told}).encode())
    except KeyboardInterrupt:
        if not held.lost:  # else another process has the work now
            raise


def is_ready(item: Item) -> bool:
    """Whether what comes before it is there."""
    return not item.after or any(path.exists() for path in item.after)


def failures(study: Study, items: Sequence[Item]) -> dict[str, str]:
    """The items that failed, and why."""
    found = {}
    for item in items:
        path = failure_path(study.out, item.name)
        if path.exists() and not item.makes.exists():
            found[item.name] = str(json.loads(path.read_text(encoding="utf-8"))["reason"])
    return found


def _open(study: Study, items: Sequence[Item]) -> list[Item]:
    """The items that are neither done nor in vain: failed, or waiting for one that did."""
    named = {item.name: item for item in items}

    def in_vain(item: Item) -> bool:
        if failure_path(study.out, item.name).exists():
            return True
        return not is_ready(item) and item.waits_for is not None and in_vain(named[item.waits_for])

    return [item for item in items if not item.makes.exists() and not in_vain(item)]
