"""Independent jobs in parallel, one process and one thread each, with one progress bar.

Small networks gain nothing from several threads on one step; several of them at once use all processors. The number
of workers changes only the time: every job computes with one thread.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch

from faal.engine.processors import usable_processors
from faal.engine.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Job:
    """A function at a module's top level, and its arguments."""

    title: str
    """Shown in the progress bar when the job is finished."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def side_by_side(jobs: Sequence[Job], *, title: str, workers: int | None = None) -> list[Any]:
    """Run the jobs and return their results in the order of the jobs.

    Args:
        jobs: independent of each other; started in this order.
        title: of the progress bar.
        workers: number of processes; that of the processors available to this process if None.
    """
    if not jobs:
        return []
    count = min(len(jobs), workers or usable_processors())
    with (
        progress_bar() as bar,
        ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread) as pool,
    ):
        task = bar.add_task(title, total=len(jobs), note="")
        started = {pool.submit(job.function, *job.arguments): job for job in jobs}
        try:
            pending = set(started)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    bar.update(task, advance=1, note=started[future].title)
                    if not bar.console.is_terminal:  # a log file shows no bar
                        so_far = f"{int(bar.tasks[task].completed)} of {len(jobs)}"
                        bar.console.print(f"{title}: {so_far}, {started[future].title}", markup=False, highlight=False)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in started]


def _one_thread() -> None:
    torch.set_num_threads(1)
