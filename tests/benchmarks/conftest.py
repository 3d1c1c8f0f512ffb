"""The network and images of the audit's tests, for the benchmarks of the audit."""

import pytest
from tests.audit.conftest import Problem, make_problem


@pytest.fixture
def problem() -> Problem:
    """5 classes, 60 samples: clean-correct almost everywhere, about half robust at epsilon 0.15."""
    return make_problem(5, 60)
