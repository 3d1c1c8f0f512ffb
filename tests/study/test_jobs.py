"""Parallel jobs."""

import os

import pytest
import torch

from faal.errors import InputError
from faal.study.jobs import Job, side_by_side


def square(number: int) -> tuple[int, int, int]:
    return number**2, torch.get_num_threads(), os.getpid()


def refuse(number: int) -> None:
    raise InputError(f"{number} is rejected")


def test_results_in_the_order_of_the_jobs_from_other_processes_with_one_thread() -> None:
    jobs = [Job(title=str(n), function=square, arguments=(n,)) for n in range(5)]
    found = side_by_side(jobs, title="squares", workers=2)
    assert [result[0] for result in found] == [0, 1, 4, 9, 16]
    assert {result[1] for result in found} == {1}
    assert os.getpid() not in {result[2] for result in found}


def test_an_error_is_raised_unchanged() -> None:
    with pytest.raises(InputError, match="7 is rejected"):
        side_by_side([Job(title="7", function=refuse, arguments=(7,))], title="refusals", workers=1)


def test_no_more_workers_than_available_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faal.study.jobs.usable_processors", lambda: 1)
    jobs = [Job(title=str(n), function=square, arguments=(n,)) for n in range(3)]
    assert len({result[2] for result in side_by_side(jobs, title="squares")}) == 1
