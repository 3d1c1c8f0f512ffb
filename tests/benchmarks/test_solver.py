"""`benchmarks/speed/solver.py` in small."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.helpers.benches import script

from faal.intermediate.balls import kl


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, with graphs that no compiler has to see."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(kl, "NEWTON_STEPS", 5)
    threads = torch.get_num_threads()
    yield script("solver")
    torch.set_num_threads(threads)


@pytest.mark.medium
def test_it_writes_what_it_measured(solver: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "solver.json"
    with torch.random.fork_rng():
        solver.main(["--classes", "4", "--problems", "8", "--rounds", "3", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["cvxpy"]["solver"] in {"CLARABEL", "ECOS", "SCS"}
    assert found["environment"]["threads"] == 1

    problem = found["one problem"]["4"]
    assert problem["seconds"].keys() == {"cvxpy", "ours", "ours, compiled"}
    assert {timed["n"] for timed in problem["seconds"].values()} == {3}
    medians = {name: timed["median"] for name, timed in problem["seconds"].items()}
    assert problem["times faster"]["ours"] == pytest.approx(medians["cvxpy"] / medians["ours"])
    assert abs(problem["mean loss beyond cvxpy's"]) < 1e-5
    assert problem["largest difference, compiled"] < 1e-6

    step = found["step"]["4"]
    assert step["seconds of the step"]["n"] == 9
    for where in ("share", "share alone"):
        assert all(0 < share < 1 for share in step[where].values())
    assert found["many problems"]["problems"] == 8
    assert found["many problems"]["seconds per problem"]["ours"]["median"] < medians["ours"]


def test_a_summary_by_hand(solver: ModuleType) -> None:
    assert solver.summary([4.0, 1.0, 3.0, 2.0, 5.0]) == {"n": 5, "median": 3.0, "quartiles": [1.5, 4.5]}
