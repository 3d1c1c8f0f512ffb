"""Fixtures of a problem small enough to attack thousands of times."""

from collections.abc import Callable, Iterator

import pyautoattack
import pytest
import torch
from tests.helpers.problems import Problem, make_problem


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets this small run faster in one thread, and pytest-xdist takes the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAB with a fifth of its steps and Square with a tenth of its queries, in all calls of pyautoattack: most of
    AutoAttack's time here. `test_the_ensemble_is_set_up_as_published` tests the actual numbers."""
    begin = pyautoattack.AutoAttack.__init__

    def brief(self: pyautoattack.AutoAttack, *words: object, **settings: object) -> None:
        begin(self, *words, **settings)
        self.fab.n_iter, self.square.n_queries = 20, 500

    monkeypatch.setattr(pyautoattack.AutoAttack, "__init__", brief)


@pytest.fixture
def problem() -> Problem:
    """5 classes, 60 samples: clean-correct almost everywhere, about half robust at epsilon 0.15."""
    return make_problem(5, 60)


@pytest.fixture
def problem_of() -> Callable[..., Problem]:
    return make_problem
