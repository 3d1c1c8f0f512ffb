"""Parallel jobs."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from faal.engine import interrupts
from faal.engine.interrupts import Interrupted
from faal.errors import InputError
from faal.study.jobs import Job, side_by_side


def square(number: int) -> tuple[int, int, int]:
    return number**2, torch.get_num_threads(), os.getpid()


def refuse(number: int) -> None:
    raise InputError(f"{number} is rejected")


@pytest.mark.medium
def test_results_in_the_order_of_the_jobs_from_other_processes_with_one_thread() -> None:
    jobs = [Job(title=str(n), function=square, arguments=(n,)) for n in range(5)]
    found = side_by_side(jobs, title="squares", workers=2)
    assert [result[0] for result in found] == [0, 1, 4, 9, 16]
    assert {result[1] for result in found} == {1}
    assert os.getpid() not in {result[2] for result in found}


def test_an_error_is_raised_unchanged() -> None:
    with pytest.raises(InputError, match="7 is rejected"):
        side_by_side([Job(title="7", function=refuse, arguments=(7,))], title="refusals", workers=1)


@pytest.mark.medium
def test_no_more_workers_than_available_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faal.study.jobs.usable_processors", lambda: 1)
    jobs = [Job(title=str(n), function=square, arguments=(n,)) for n in range(3)]
    assert len({result[2] for result in side_by_side(jobs, title="squares")}) == 1


def finish(folder: Path, name: str) -> None:
    """A long job, which a signal ends at its next step."""
    (folder / f"{name} began").touch()
    with interrupts.finishing():
        while not interrupts.requested():
            time.sleep(0.01)
        (folder / f"{name} saved").touch()
        raise Interrupted("saved")


def once_both_began(folder: Path) -> None:
    while not {"a began", "b began"} <= {path.name for path in folder.iterdir()}:
        time.sleep(0.01)


def refuse_late(folder: Path) -> None:
    once_both_began(folder)
    raise InputError("the third is refused")


def interrupt_parent(folder: Path) -> None:
    once_both_began(folder)
    os.kill(os.getppid(), signal.SIGTERM)
    finish(folder, "c")


def die(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_beside(folder: Path, third: Callable[[Path], None]) -> None:
    """Two long jobs and a third."""
    jobs = [Job(title=name, function=finish, arguments=(folder, name)) for name in "ab"]
    side_by_side([*jobs, Job(title="c", function=third, arguments=(folder,))], title="three", workers=3)


@pytest.mark.slow
def test_a_refusal_ends_the_others_where_they_save(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the third is refused"):
        run_beside(tmp_path, refuse_late)
    assert {"a saved", "b saved"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_a_signal_ends_all(tmp_path: Path) -> None:
    message = r"^three: 0 of 3 are finished, and the progress of the others is saved$"
    with interrupts.handled():
        with pytest.raises(Interrupted, match=message):
            run_beside(tmp_path, interrupt_parent)
        assert interrupts.status() == 143
    assert {"a saved", "b saved"} <= {path.name for path in tmp_path.iterdir()}  # c may end before its work begins


def test_a_worker_that_is_killed_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a worker process was killed"):
        side_by_side([Job(title="-", function=die, arguments=(tmp_path,))], title="one")
