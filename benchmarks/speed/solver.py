"""Time phase 2's solver against cvxpy's, and phase 2 as a share of a small training step.

    python -m benchmarks.speed.solver

writes `benchmarks/results/solver.json`. One thread, everything in one process and in turns, in a new order every round,
after a warm-up. Seconds are the processor's, so that other processes do not count.

One problem: the weights of C classes from their losses, by cvxpy (the problem built and solved anew, as public code
does for every batch), by `solve_kldro`, and by `solve_kldro` compiled. A turn is ten calls on new losses, of which the
mean is reported, and besides the first call, when the caches hold another implementation's data. Many problems: a
thousand of ten classes at once, by ours, per problem. Step: a FAAL-AT step of the small net of width 16 on 32 noise
images of 8 x 8 pixels against PGD-10, and the share of phase 2 (class statistics, rule and solver), plain and compiled:
inside the step, when the caches hold the network's data, and alone, in turns of ten calls. `a graph that does next to
nothing` is the least cost of a call of compiled code at the same place of the step.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cvxpy
import torch
from benchmarks.speed import turns
from benchmarks.speed.turns import summary
from benchmarks.speed.ways import solved_by_cvxpy
from torch import Tensor

from faal import solve_kldro
from faal import step as steps
from faal.checkpoint import write_atomically
from faal.config import Recipe, Schedule
from faal.data import Batch
from faal.engine.environment import environment
from faal.engine.numerics import Numerics
from faal.intermediate.class_rule import TermWeights
from faal.intermediate.class_stats import batch_stats
from faal.models import Architecture, build_model
from faal.step import Learner, StepContext
from faal.train.learner import learner_for

RESULTS = Path(__file__).parents[1] / "results" / "solver.json"
CPU = torch.device("cpu")
TAU = 0.5
CVXPY, OURS, COMPILED = "cvxpy", "ours", "ours, compiled"
NOTHING = "a graph that does next to nothing"
BATCH, PIXELS = 32, 8
WARM_UP, CALLS = 3, 10
"""Rounds that are not counted, and calls per turn."""


def seconds(work: Callable[[], object]) -> float:
    return turns.seconds(work, time.process_time)


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int, calls: int = 1) -> dict[str, list[list[float]]]:
    """The seconds of each implementation's calls, turn by turn."""

    def called(name: str, turn: int) -> list[float]:
        return [ways[name]() for _ in range(calls)]

    return turns.in_turns({name: partial(called, name) for name in ways}, WARM_UP, rounds)


def means(found: Mapping[str, list[list[float]]]) -> dict[str, dict[str, Any]]:
    """The mean call of each turn."""
    return {name: summary([sum(turn) / len(turn) for turn in rounds]) for name, rounds in found.items()}


def firsts(found: Mapping[str, list[list[float]]]) -> dict[str, dict[str, Any]]:
    """The first call of each turn."""
    return {name: summary([turn[0] for turn in rounds]) for name, rounds in found.items()}


def compiled(work: Callable[..., Any], *inputs: Any) -> tuple[Callable[..., Any], float]:
    """`work` as one graph, and the wall time of its first call, which compiles it in several processes."""
    torch.compiler.reset()
    made = torch.compile(work, fullgraph=True, dynamic=False)
    start = time.perf_counter()
    made(*inputs)
    return made, time.perf_counter() - start


# --- one problem, and many -------------------------------------------------------------------------------------------


def margins(*shape: int) -> Tensor:
    """Losses like class margins: in (-1, 1), with a typical spread."""
    return torch.randn(shape).mul(0.7).tanh()


def one_problem(classes: int, arguments: argparse.Namespace) -> dict[str, Any]:
    losses = margins(classes)
    fast, compiling = compiled(solve_kldro, losses, TAU)

    def on_new_losses(solve: Callable[[Tensor], object]) -> float:
        drawn = margins(classes)
        return seconds(lambda: solve(drawn))

    ways: dict[str, Callable[[], float]] = {
        CVXPY: lambda: on_new_losses(lambda drawn: solved_by_cvxpy(drawn.tolist(), TAU)),
        OURS: lambda: on_new_losses(lambda drawn: solve_kldro(drawn, TAU)),
        COMPILED: lambda: on_new_losses(lambda drawn: fast(drawn, TAU)),
    }
    taken = in_turns(ways, arguments.rounds, CALLS)
    found, cold = means(taken), firsts(taken)
    exact = solve_kldro(losses, TAU).double()
    return {
        "seconds": found,
        "times faster": {name: found[CVXPY]["median"] / found[name]["median"] for name in (OURS, COMPILED)},
        "seconds, first of a turn": cold,
        "times faster, first of a turn": {
            name: cold[CVXPY]["median"] / cold[name]["median"] for name in (OURS, COMPILED)
        },
        "seconds to compile": compiling,
        "mean loss beyond cvxpy's": float(
            losses.double() @ (exact - torch.tensor(solved_by_cvxpy(losses.tolist(), TAU)))
        ),
        "largest difference, compiled": float((fast(losses, TAU).double() - exact).abs().max()),
    }


def many_problems(classes: int, count: int, alone: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """`alone`: cvxpy's seconds for one problem."""
    losses = margins(count, classes)
    fast, compiling = compiled(solve_kldro, losses, TAU)
    ways: dict[str, Callable[[], float]] = {
        OURS: lambda: seconds(lambda: solve_kldro(losses, TAU)) / count,
        COMPILED: lambda: seconds(lambda: fast(losses, TAU)) / count,
    }
    found = means(in_turns(ways, arguments.rounds))
    return {
        "classes": classes,
        "problems": count,
        "seconds per problem": found,
        "times faster": {name: alone / found[name]["median"] for name in ways},
        "seconds to compile": compiling,
    }


def cone_solver() -> str:
    """The solver that cvxpy chooses by default."""
    solved: list[cvxpy.Problem] = []
    own: Any = cvxpy.Problem.solve

    def noted(problem: cvxpy.Problem) -> Any:
        solved.append(problem)
        return own(problem)

    with patch.object(cvxpy.Problem, "solve", noted):
        solved_by_cvxpy([0.0, 1.0], TAU)
    return str(solved[0].solver_stats.solver_name)


# --- the share of a step ---------------------------------------------------------------------------------------------


def learner_of(classes: int) -> Learner:
    recipe = Recipe(
        method="faal-at",
        model="small",
        width=16,
        batch_size=BATCH,
        steps=10,
        tau=Schedule.constant(TAU),
        lr=Schedule.constant(1e-6),
    )
    net = build_model(Architecture(model="small", num_classes=classes, channels=1, width=16), seed=0)
    numerics = Numerics.choose(recipe.precision, CPU, net, torch.zeros(1, 1, PIXELS, PIXELS))
    return learner_for(numerics.place(net).train(), recipe, torch.ones(classes), seed=0, numerics=numerics)


def batch_of(classes: int) -> Batch:
    labels = torch.randint(classes, (BATCH,))
    return Batch(torch.rand(BATCH, 1, PIXELS, PIXELS), labels, labels, *2 * [torch.arange(BATCH)])


def share_of_a_step(classes: int, arguments: argparse.Namespace) -> dict[str, Any]:
    learner = learner_of(classes)
    step_seconds: list[float] = []

    def weights(logits: Tensor, labels: Tensor) -> Tensor:
        return learner.rule.weigh(batch_stats(logits, labels, labels, classes, learner.rule.needs)).robust

    fast, compiling = compiled(weights, torch.randn(BATCH, classes), torch.randint(classes, (BATCH,)))

    ones = torch.ones(classes)
    least = torch.compile(lambda logits: logits + 1, fullgraph=True, dynamic=False)
    least(torch.randn(BATCH, classes))

    def next_to_nothing(_: Learner, logits: Tensor, batch: Batch) -> TermWeights:
        least(logits)
        return TermWeights(clean=ones, robust=ones)

    def by_graph(_: Learner, logits: Tensor, batch: Batch) -> TermWeights:
        both = fast(logits, batch.labels)
        return TermWeights(clean=both, robust=both)

    def stepped(name: str) -> float:
        """The seconds of phase 2 in one step; those of the step are added to `step_seconds`."""
        spent: list[float] = []

        def timed(*inputs: Any) -> TermWeights:
            found: list[TermWeights] = []
            spent.append(seconds(lambda: found.append(phase_2[name](*inputs))))
            return found[0]

        batch = batch_of(classes)
        with patch.object(steps, "find_worst_distribution", timed):
            step_seconds.append(seconds(lambda: steps.train_step(learner, batch, StepContext(epoch=0, progress=0.0))))
        return spent[0]

    def alone(name: str) -> float:
        logits, batch = torch.randn(BATCH, classes), batch_of(classes)
        return seconds(lambda: phase_2[name](learner, logits, batch))

    phase_2: dict[str, Callable[[Learner, Tensor, Batch], TermWeights]] = {
        OURS: steps.find_worst_distribution,
        COMPILED: by_graph,
        NOTHING: next_to_nothing,
    }
    inside = means(in_turns({name: partial(stepped, name) for name in phase_2}, arguments.rounds))
    outside = means(in_turns({name: partial(alone, name) for name in (OURS, COMPILED)}, arguments.rounds, CALLS))
    step = summary(step_seconds[WARM_UP * len(phase_2) :])
    return {
        "seconds of the step": step,
        "seconds of phase 2": inside,
        "share": {name: times["median"] / step["median"] for name, times in inside.items()},
        "seconds of phase 2 alone": outside,
        "share alone": {name: times["median"] / step["median"] for name, times in outside.items()},
        "seconds to compile": compiling,
    }


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result: dict[str, Any] = {
        "command": "python -m benchmarks.speed.solver",
        "environment": {k: v for k, v in environment(CPU).items() if k != "command"},
        "tau": TAU,
        "cvxpy": {"version": version("cvxpy"), "solver": cone_solver()},
        "one problem": {},
        "step": {},
    }
    # With earlier compilations in the cache, the seconds to compile would be too small.
    with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=empty):
        for classes in arguments.classes:
            result["one problem"][str(classes)] = one_problem(classes, arguments)
            result["step"][str(classes)] = share_of_a_step(classes, arguments)
        fewest = min(arguments.classes)
        alone = result["one problem"][str(fewest)]["seconds"][CVXPY]["median"]
        result["many problems"] = many_problems(fewest, arguments.problems, alone, arguments)
    write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
