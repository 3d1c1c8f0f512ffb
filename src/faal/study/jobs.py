"""Independent jobs in parallel, one process and one thread each, with one progress bar.

A small network is not faster with several threads; several networks in parallel use all processors. The number
of workers affects only the time: every job computes with one thread.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch

from faal.engine import interrupts
from faal.engine.parent import end_with_parent
from faal.engine.processors import usable_processors
from faal.engine.progress import progress_bar
from faal.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Job:
    """A function at a module's top level, and its arguments."""

    title: str
    """Shown in the progress bar when the job is finished."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def side_by_side(jobs: Sequence[Job], *, title: str, workers: int | None = None) -> list[Any]:
    """Run the jobs and return their results in the order of the jobs. The workers end with this process.

    Args:
        jobs: independent of each other; started in this order.
        title: of the progress bar.
        workers: number of processes; that of the processors available to this process if None.

    Raises:
        Interrupted: a signal was received; the running jobs were stopped by it, and no other was started.
    """
    if not jobs:
        return []
    count = min(len(jobs), workers or usable_processors())
    others, finished = set(multiprocessing.active_children()), list[str]()
    with (
        interrupts.reporting(
            lambda _: f"{title}: {len(finished)} of {len(jobs)} are finished, and the progress of the others is saved"
        ),
        progress_bar() as bar,
        ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_initialise) as pool,
    ):
        task = bar.add_task(title, total=len(jobs), note="")
        with interrupts.starting_workers():
            started = {pool.submit(_work, job.function, job.arguments): job for job in jobs}
        try:
            for future in as_completed(started):
                future.result()
                finished.append(started[future].title)
                bar.update(task, advance=1, note=finished[-1])
                if not bar.console.is_terminal:  # a log file shows no bar
                    progress = f"{len(finished)} of {len(jobs)}, {finished[-1]}"
                    bar.console.print(f"{title}: {progress}", markup=False, highlight=False)
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed, perhaps because memory ran out; the same command continues"
            ) from None
        except BaseException:
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()  # its job is stopped by the signal
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in started]


def _initialise() -> None:
    """Initialise a worker process."""
    end_with_parent()
    interrupts.serve()
    torch.set_num_threads(1)


def _work(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with interrupts.job():
        return function(*arguments)
